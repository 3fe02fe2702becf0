# SPDX-License-Identifier: Apache-2.0
#
# A thin front of CMake: see CMakePresets.json for what a PRESET is. `make help` lists the targets.

PRESET ?= release
PREFIX ?= /usr/local
DESTDIR ?=
MIN    ?=
TRIES  ?= 1
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

BUILD := $(if $(filter release,$(PRESET)),build,build-$(PRESET))

MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := build
.PHONY: build all demo test test-asan lint format coverage bench install clean help deps-build \
        deps-test deps-demo deps-bench

build: ## the three programs, into build/ (PRESET=debug, asan, ...: into build-PRESET/)
	@cmake --preset $(PRESET) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target programs

all: ## the programs and every test
	@cmake --preset $(PRESET) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)

demo: deps-demo build ## installs what is missing, builds, and sends a message through a relay
	@PORTSEAL_BUILD=$(CURDIR)/$(BUILD) packaging/demo

test: deps-test all ## installs what is missing, builds, and runs every test (TESTS=REGEX: those)
	@ctest --preset $(PRESET) -j $(JOBS) $(if $(TESTS),-R '$(TESTS)') $(if $(filter-out 1,$(TRIES)),--repeat until-pass:$(TRIES))

test-asan: ## the same under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test PRESET=asan

lint: ## installs missing tools; format, static analysis, both compilers, the project's rules
	@packaging/install-deps lint
	@packaging/lint

format: ## formats the C sources in place
	@packaging/lint --fix-format

coverage: ## line coverage of each folder of lib/ and relay/ (MIN=85: fails below)
	@packaging/install-deps coverage
	@packaging/coverage $(MIN)

bench: deps-bench build ## Portseal beside other proxies, in about a quarter of an hour; QUICK=1: within two minutes
	@cmake --build $(BUILD) -j $(JOBS) --target portseal-load
	@PORTSEAL_BUILD=$(CURDIR)/$(BUILD) PYTHONDONTWRITEBYTECODE=1 python3 tests/bench/bench.py $(if $(QUICK),--quick) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(WORKLOADS),--workloads '$(WORKLOADS)') $(if $(PROXIES),--proxies '$(PROXIES)')

install: build ## into PREFIX (/usr/local), below DESTDIR
	@DESTDIR='$(DESTDIR)' cmake --install $(BUILD) --prefix '$(PREFIX)'

clean: ## removes every build directory
	@rm -rf build build-debug build-asan build-coverage build-clang build-fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 12

deps-build:
	@packaging/install-deps build
deps-test:
	@packaging/install-deps test
deps-demo:
	@packaging/install-deps demo
deps-bench:
	@packaging/install-deps bench
