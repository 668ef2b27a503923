# shellcheck shell=bash
# Shared by the scripts of this folder (sourced, never run): how each of them speaks, which packages and Debian release a PostgreSQL
# version needs, and how the source is copied and run as the user that PostgreSQL wants. Callers set `set -euo pipefail` themselves.

export LC_ALL=C.UTF-8
export PG=${PG:-15}

say() { printf '%s\n' "$*"; }
die() {
	printf '%s\n' "$*" >&2
	exit 1
}

# The Debian release that carries PostgreSQL $PG.
suite() {
	case $PG in
	15) echo bookworm ;;
	17) echo trixie ;;
	18) echo forky ;;
	*) die "PG=$PG is not supported: use PG=15, PG=17 or PG=18" ;;
	esac
}

# What building and testing on PostgreSQL $PG needs beside git and make.
packages() {
	echo gcc libc6-dev make perl libipc-run-perl libtap-parser-sourcehandler-pgtap-perl \
		"postgresql-$PG" "postgresql-server-dev-$PG" "postgresql-$PG-pgtap"
}

pg_bindir() { echo "/usr/lib/postgresql/$PG/bin"; }

# Runs a command as an ordinary user: PostgreSQL refuses root.
as_postgres() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# copy_tree FROM TO: the source without what a build or a test leaves in it.
copy_tree() {
	mkdir -p "$2"
	tar -C "$1" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' --exclude='./src/sql/lifecycle--*.sql' \
		--exclude=./results --exclude=./output_iso --exclude=./tmp_check --exclude=./tmp_check_iso --exclude=./test/results . |
		tar -C "$2" -xf - --no-same-owner
}
