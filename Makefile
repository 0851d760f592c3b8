# Everything a developer runs; README.md says what for.

CARGO ?= cargo
ERLC ?= erlc
REBAR3 ?= rebar3
MIX ?= mix

# Where rustup puts cargo, also for who has not yet opened a new shell. First, as rustup itself puts it: the
# system's cargo may be too old.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

TARGET_DIR = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
ORIGIN = $(TARGET_DIR)/release/hansom_origin
EBIN = _build/default/lib/hansom/ebin
# What demo and benchmark share with the tests.
SERVERS = test/support/hansom_servers.erl test/support/hansom_program.erl

.PHONY: all build origin setup demo-setup demo test lint bench bench-hackney hackney-suite hackney-answers clean

# Each target needs what the one before it made.
.NOTPARALLEL:

all: build

build:
	$(REBAR3) compile

# The bundled server: the demo's, the tests' and the benchmark's peer.
origin:
	$(CARGO) build --release --locked --quiet -p hansom_origin

setup:
	sh .ci/setup

demo-setup:
	sh .ci/setup build

demo: demo-setup build origin
	mkdir -p _build/demo
	$(ERLC) -Werror -o _build/demo docs/demo/*.erl $(SERVERS)
	HANSOM_ORIGIN=$(ORIGIN) erl -noinput -pa $(EBIN) -pa _build/demo -s hansom_demo main

test: setup
	HANSOM_ORIGIN=$(ORIGIN) sh test/run.sh

lint:
	sh test/lint.sh

# Compare with hackney: HACKNEY_LIBS=dir:dir make bench (bench/README.md).
bench: build origin
	mkdir -p _build/bench
	$(ERLC) -Werror +debug_info -o _build/bench bench/*.erl $(SERVERS)
	HANSOM_ORIGIN=$(ORIGIN) erl -noinput -pa $(EBIN) -pa _build/bench \
	    $(foreach dir,$(subst :, ,$(HACKNEY_LIBS)),-pa $(dir)) -s hansom_bench main

# hackney's own tests, without and with hansom: HACKNEY=path/to/a/built/checkout make hackney-suite (docs/hackney.md).
hackney-suite: build origin
	mkdir -p _build/hackney_suite/ebin
	$(ERLC) -Werror +debug_info -o _build/hackney_suite/ebin test/hackney_suite/*.erl $(SERVERS)
	HANSOM_ORIGIN=$(ORIGIN) erl -noinput -pa $(EBIN) -pa _build/hackney_suite/ebin -s hansom_hackney_suite main

# hackney:request/5 without and with hansom: HACKNEY_LIBS=dir:dir make bench-hackney (bench/README.md).
bench-hackney: build origin
	mkdir -p _build/bench
	$(ERLC) -Werror +debug_info -o _build/bench bench/*.erl $(SERVERS)
	HANSOM_ORIGIN=$(ORIGIN) erl -noinput -pa $(EBIN) -pa _build/bench \
	    $(foreach dir,$(subst :, ,$(HACKNEY_LIBS)),-pa $(dir)) -s hansom_bench_hackney main

# Record anew what hackney answers (test/support/hansom_differential.erl): HACKNEY_LIBS=dir:dir make hackney-answers.
hackney-answers: build origin
	mkdir -p _build/differential
	$(ERLC) -Werror -o _build/differential test/support/*.erl
	HANSOM_ORIGIN=$(ORIGIN) erl -noinput -pa $(EBIN) -pa _build/differential -s hansom_differential main

clean:
	rm -rf _build priv/hansom_nif.so
	$(CARGO) clean
