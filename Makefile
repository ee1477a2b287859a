# SPDX-License-Identifier: GPL-2.0
#
# Builds everything that a guest needs, and runs guests; with KDIR= only the
# module, for that kernel. The kernel's build reads Kbuild, not this file.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := $(if $(KDIR),modules,all)
MAKEFLAGS += --no-print-directory

KERNEL ?= base
BUILD ?= $(CURDIR)/build
export KERNEL BUILD JOBS KSRC WGVIA_MIRROR

ifneq ($(KDIR),)

.PHONY: modules modules_install clean

modules modules_install:
	@scripts/check-kdir '$(KDIR)'
	$(MAKE) -C '$(KDIR)' M='$(CURDIR)' $@

# Kbuild removes objects in all folders, and those of build/ are others'.
clean:
	$(MAKE) -C '$(KDIR)' M='$(CURDIR)' $@ \
		RCS_FIND_IGNORE="\( -name .git -o -path './$(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))' \) -prune -o"

else

.PHONY: all kernel check lint try rust-analyzer demo bench soak scale fuzz faults mutants suites deb deb-test shell clean help

all:
	@scripts/build

kernel:
	@scripts/build kernel

# Nothing of a kernel has to be built for it.
demo: KERNEL = debian
demo: all
	@scripts/vm -- scripts/demo

check: all
	@scripts/check $(TESTS)

lint: all
	@scripts/try tree $(if $(ONLY),'$(ONLY)')

try: all
	@scripts/try $(TEST) $(if $(ONLY),'$(ONLY)')

rust-analyzer: all
	@scripts/rust-analyzer

bench: all
	@scripts/build --kernel stock
	@scripts/build --kernel uml
	@scripts/bench

soak: all
	@scripts/soak $(MINUTES)

scale: all
	@scripts/scale

fuzz: all
	@scripts/fuzz $(MESSAGES)

# No other kernel of ours can have allocations fail.
faults: KERNEL = debug
faults: all
	@scripts/faults

# Some mutants are noticed on the kernel debug only.
mutants: all
	@scripts/build --kernel debug
	@scripts/mutants

suites: all
	@scripts/build --kernel stock
	@scripts/suites $(SUITES)

deb:
	@scripts/build deb

# The packages on Debian's kernels alone, in a root that has nothing of ours.
deb-test: deb
	@scripts/deb-test

shell: all
	@scripts/vm

clean:
	@scripts/clean

help:
	@cat scripts/help.txt

endif
