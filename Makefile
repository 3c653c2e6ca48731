# Short names for what meson, ninja and the test runner do.
#
#   make            build/provostd and build/provost
#   make deps       install the Debian packages that are needed (root)
#   make demo       a device gets in, a policy changes, the device follows: on this machine
#   make check      every test that needs nobody else, with sanitizers
#   make check-real tests with SOGo, Dovecot, nginx, slapd and others from Debian (root)
#   make fuzz       libFuzzer, FUZZ_MINUTES for each target; the corpus stays in build-fuzz/corpus
#   make bench      figures beside nginx, HAProxy, libwbxml and the disk
#   make install    DESTDIR and PREFIX as usual
BUILD ?= build
PREFIX ?= /usr/local
FUZZ_MINUTES ?= 1

.PHONY: all deps demo check check-real fuzz bench install clean

all:
	@scripts/deps build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix=$(PREFIX) >/dev/null
	@ninja -C $(BUILD) shipped provost-auth

deps:
	scripts/deps check real bench

demo: all
	@scripts/demo $(BUILD)

check:
	@scripts/deps check
	@tests/run --asan --tsan

check-real:
	@scripts/deps real
	@tests/run --real

fuzz:
	@scripts/deps check
	@scripts/fuzz $(FUZZ_MINUTES)

bench:
	@scripts/deps bench
	@tests/bench/run

install: all
	ninja -C $(BUILD)
	DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

clean: # the corpus in build-fuzz is kept
	rm -rf build build-plain build-asan build-tsan build-bench
