# Stands in for the official MySQL image where no registry can be reached: same variables, port, user id and volume.
FROM scratch
ADD rootfs.tar /
COPY --chmod=755 mysql-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
RUN echo 'mysql:x:999:' >> /etc/group \
    && echo 'mysql:x:999:999::/var/lib/mysql:/usr/sbin/nologin' >> /etc/passwd \
    && mkdir -p /var/lib/mysql /var/run/mysqld \
    && chown 999:999 /var/lib/mysql /var/run/mysqld
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
VOLUME /var/lib/mysql
EXPOSE 3306
USER 999:999
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["mysqld"]
