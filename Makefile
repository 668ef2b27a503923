# lifecycle: customer-lifecycle automation inside PostgreSQL. Building and installing is PGXS; `make demo` and `make test` also install
# what they need.

EXTENSION = lifecycle
EXTVERSION = 0.1.0
MODULE_big = lifecycle

OBJS = \
	src/lifecycle.o \
	src/guc.o \
	src/clock.o \
	src/capture/apply.o \
	src/capture/arm.o \
	src/capture/batch.o \
	src/capture/becomes.o \
	src/capture/changes.o \
	src/capture/collected.o \
	src/capture/context.o \
	src/capture/cycles.o \
	src/capture/fold.o \
	src/capture/listen.o \
	src/capture/match.o \
	src/capture/move.o \
	src/capture/replay.o \
	src/capture/rows.o \
	src/capture/runs.o \
	src/capture/statement.o \
	src/capture/subjects.o \
	src/capture/timers.o \
	src/capture/triggers.o \
	src/capture/when.o \
	src/catalog/altered.o \
	src/catalog/as_of.o \
	src/catalog/bulk.o \
	src/catalog/checks.o \
	src/catalog/closest.o \
	src/catalog/condition.o \
	src/catalog/condition_error.o \
	src/catalog/define_lifecycle.o \
	src/catalog/define_source.o \
	src/catalog/define_stage.o \
	src/catalog/define_transition.o \
	src/catalog/definer.o \
	src/catalog/definitions.o \
	src/catalog/load.o \
	src/catalog/order.o \
	src/catalog/owner.o \
	src/catalog/pages.o \
	src/catalog/renames.o \
	src/catalog/sql.o \
	src/catalog/time_limit.o \
	src/engine/claim.o \
	src/engine/due.o \
	src/engine/compile.o \
	src/engine/define_workflow.o \
	src/engine/foreground.o \
	src/engine/keymap.o \
	src/engine/output.o \
	src/engine/plan.o \
	src/engine/runner.o \
	src/engine/send.o \
	src/engine/spool.o \
	src/engine/steps.o \
	src/engine/normal_form.o \
	src/engine/vocabulary.o \
	src/engine/window.o \
	src/engine/workflow_state.o \
	src/worker/installation.o \
	src/worker/interrupted.o \
	src/worker/launcher.o \
	src/worker/scheduler.o \
	src/worker/shmem.o \
	src/worker/stats.o \
	src/worker/status.o \
	src/worker/utility.o \
	src/worker/wake.o \
	src/worker/worker.o \
	src/analytics/funnel.o \
	src/analytics/reading.o \
	src/analytics/zones.o \
	src/delivery/messages.o \
	src/delivery/define_template.o \
	src/delivery/template_compare.o \
	src/delivery/template_date.o \
	src/delivery/template_filters.o \
	src/delivery/template_html.o \
	src/delivery/template_lex.o \
	src/delivery/template_number.o \
	src/delivery/template_parse.o \
	src/delivery/template_render.o \
	src/delivery/template_sql.o \
	src/delivery/template_tags.o \
	src/delivery/template_value.o

# The install script is these area files, in this order.
SQL_PARTS = \
	src/sql/00_head.sql \
	src/sql/10_definitions.sql \
	src/sql/15_prototypes.sql \
	src/sql/20_vocabulary.sql \
	src/sql/30_define.sql \
	src/sql/35_define_workflow.sql \
	src/sql/40_capture.sql \
	src/sql/50_engine.sql \
	src/sql/55_template.sql \
	src/sql/60_messages.sql \
	src/sql/65_worker.sql \
	src/sql/70_views.sql \
	src/sql/75_reading.sql \
	src/sql/76_verify.sql \
	src/sql/77_status.sql

DATA_built = src/sql/$(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = src/sql/$(EXTENSION)--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare $(WERROR)

REGRESS = install define template capture timers backfill workflow reading hardening readme engine

# The SQL of the README is a test. One transaction: no worker sees its rows before its own run_due(). What explain and status show has times and
# processes in it: of them only errors are seen.
REGRESS_PREP = sql/readme.sql
EXTRA_CLEAN += sql/readme.sql

# Against a running server, as PGXS does it: pg_regress, then every isolation spec, and with TAP_TESTS=1 (not as root) the TAP tests.
ISOLATION := $(sort $(notdir $(basename $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --load-extension=$(EXTENSION)
PROVE_TESTS = test/t/*.pl

# clang's bitcode is for JIT only; building it doubles the time and needs clang.
override with_llvm = no

# These goals install PostgreSQL where it is missing or do without it, so they do not ask PGXS.
SETUP_GOALS = test demo bench dist indent
ifneq ($(filter-out $(SETUP_GOALS),$(or $(MAKECMDGOALS),all)),)
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h src/*/*.h)
endif

src/sql/$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS) Makefile
	cat $(SQL_PARTS) > $@

sql/readme.sql: README.md Makefile
	{ echo 'BEGIN;'; echo 'SET LOCAL client_min_messages = warning;'; echo 'DROP EXTENSION IF EXISTS lifecycle CASCADE;'; echo 'RESET client_min_messages;'; awk '/^```sql/ {f = 1; next} /^```/ {f = 0} !f {next} /explain\(|status\(/ {print "\\o /dev/null"; print; print "\\o"; next} 1' README.md; echo 'ROLLBACK;'; } > $@

# PG=15|17|18, ONLY=kinds, TESTS=names: see test/run.
test:
	@exec env PG='$(PG)' ONLY='$(ONLY)' TESTS='$(TESTS)' test/run

# KEEP=1 leaves the server running.
demo:
	@exec env PG='$(PG)' KEEP='$(KEEP)' test/demo/run

# BENCH=numbers or names, SCALE=0.1: see test/bench/run.
bench:
	@exec env PG='$(PG)' BENCH='$(BENCH)' SCALE='$(or $(SCALE),1)' test/bench/run

# Formats the C files. `make typedefs` writes the list of types that it needs, from the debug information and our own definitions, but for
# those that are names of variables here.
C_FILES = $(wildcard src/*.[ch] src/*/*.[ch])

indent:
	@test/indent $(C_FILES)

typedefs: all
	{ readelf --debug-dump=info $(OBJS) | awk '/DW_TAG_/ {t = /DW_TAG_typedef/} t && /DW_AT_name/ {print $$NF; t = 0}'; \
		sed -nE 's/^} ([A-Za-z]+);.*/\1/p' $(C_FILES); } | \
		grep -vxE 'text|date|string|type|element|timestamp' | LC_ALL=C sort -u > src/typedefs.list

# The archive that PGXN wants.
dist:
	git archive --format=zip --prefix=$(EXTENSION)-$(EXTVERSION)/ -o $(EXTENSION)-$(EXTVERSION).zip HEAD

.PHONY: dist test demo bench indent typedefs
