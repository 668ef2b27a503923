# lifecycle: customer-lifecycle automation inside PostgreSQL. Building and installing is PGXS; `make demo` and `make test` also install
# what they need.

EXTENSION = lifecycle
EXTVERSION = 0.1.0
MODULE_big = lifecycle

OBJS = \
	src/lifecycle.o \
	src/guc.o \
	src/clock.o

# The install script is these area files, in this order.
SQL_PARTS = \
	src/sql/00_head.sql

DATA_built = src/sql/$(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = src/sql/$(EXTENSION)--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare $(WERROR)

REGRESS = install
REGRESS_OPTS = --inputdir=.

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# clang's bitcode is for JIT only; building it doubles the time and needs clang.
with_llvm = no

src/sql/$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS) Makefile
	cat $(SQL_PARTS) > $@
