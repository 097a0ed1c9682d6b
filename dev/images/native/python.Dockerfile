# Stands in for the official Python image where no registry can be reached: Debian's own Python.
FROM scratch
ADD rootfs.tar /
# The building machine's certificates, so that pip trusts what the machine trusts.
COPY ca.pem /etc/ssl/certs/ca-certificates.crt
ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
CMD ["python3"]
