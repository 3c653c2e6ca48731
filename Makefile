# Short names for what meson, ninja and the test runner do. `make deps` installs what Debian 12 needs (as root).
BUILD ?= build

.PHONY: all deps demo check check-tsan fuzz bench install clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)
	ln -sf src/server/provostd $(BUILD)/provostd 2>/dev/null || true
