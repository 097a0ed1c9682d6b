#!/bin/sh
# Starts mysqld with what the official image's variables ask for: MYSQL_ROOT_PASSWORD (or
# MYSQL_ALLOW_EMPTY_PASSWORD), MYSQL_ROOT_HOST, MYSQL_DATABASE, MYSQL_USER and MYSQL_PASSWORD.
# They matter to an empty data directory alone; arguments are mysqld's options.
set -eu
data=/var/lib/mysql
case "${1-mysqld}" in
    mysqld) [ $# -eq 0 ] || shift ;;
    -*) ;;
    *) exec "$@" ;;
esac
set -- --no-defaults --datadir="$data" --socket=/var/run/mysqld/mysqld.sock --pid-file="$data/mysqld.pid" \
    --secure-file-priv=NULL --mysqlx=OFF --skip-name-resolve "$@"

literal() { # an SQL string
    printf "'%s'" "$(printf %s "$1" | sed "s/[\\\\']/\\\\&/g")"
}

name() { # a quoted SQL identifier
    printf '`%s`' "$(printf %s "$1" | sed 's/`/``/g')"
}

say() { # a line as it is: some shells' echo rewrites backslashes
    printf '%s\n' "$1"
}

accounts() {
    root_password=$(literal "${MYSQL_ROOT_PASSWORD-}")
    root="'root'@$(literal "${MYSQL_ROOT_HOST:-%}")"
    say "ALTER USER 'root'@'localhost' IDENTIFIED BY $root_password;"
    say "CREATE USER IF NOT EXISTS $root IDENTIFIED BY $root_password;"
    say "GRANT ALL ON *.* TO $root WITH GRANT OPTION;"
    [ -z "${MYSQL_DATABASE-}" ] || say "CREATE DATABASE IF NOT EXISTS $(name "$MYSQL_DATABASE");"
    if [ -n "${MYSQL_USER-}" ]; then
        user="$(literal "$MYSQL_USER")@'%'"
        say "CREATE USER $user IDENTIFIED BY $(literal "$MYSQL_PASSWORD");"
        [ -z "${MYSQL_DATABASE-}" ] || say "GRANT ALL ON $(name "$MYSQL_DATABASE").* TO $user;"
    fi
}

if [ ! -d "$data/mysql" ]; then
    if [ -z "${MYSQL_ROOT_PASSWORD-}${MYSQL_ALLOW_EMPTY_PASSWORD-}" ]; then
        say "the data directory is empty: set MYSQL_ROOT_PASSWORD (or MYSQL_ALLOW_EMPTY_PASSWORD)" >&2
        exit 1
    fi
    if [ -n "${MYSQL_USER-}" ] && [ -z "${MYSQL_PASSWORD-}" ]; then
        say "MYSQL_USER is set: set MYSQL_PASSWORD as well" >&2
        exit 1
    fi
    statements=$(accounts)
    mysqld "$@" --initialize-insecure
    # The server runs this before it listens, so whoever can connect finds the accounts.
    umask 077
    say "$statements" > "$data/accounts.sql"
    set -- "$@" --init-file="$data/accounts.sql"
fi
exec mysqld "$@"
