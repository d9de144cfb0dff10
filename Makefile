# Skerry's front door. `make help` lists what it does.

# Tools run by images/env: on this machine, or in a Debian 13 builder root where cargo or go is missing or too old.
CARGO  := images/env cargo
# The first time these two take a minute or two to build, and cargo says how far it is.
IMAGES := $(CARGO) run $(if $(wildcard target/tool/images),--quiet) --profile tool -p skerry-images --bin images --
TESTS  := $(CARGO) run $(if $(wildcard target/tool/suite),--quiet) --profile tool -p skerry-tests --bin
OUT    ?= out
KERNEL ?= cloud

.PHONY: help image disk iso run cluster cluster-status cluster-down test torture ci bench check docs size clean
.DEFAULT_GOAL := help

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

image: ## Build the release into out/: vmlinuz, initrd.img, root.img, manifest.json (KERNEL=cloud|full)
	@$(IMAGES) image --kernel $(KERNEL) --out $(OUT)

# What is shipped runs on real machines: `make disk KERNEL=cloud` for virtual ones only.
disk iso: KERNEL = full

disk: image ## Make the disk image to flash: out/skerry-amd64.img (.zst, .bmap, .sha256)
	@$(IMAGES) disk --release $(OUT) --out $(OUT)/skerry-amd64.img

iso: image ## Make the ISO to burn or dd: out/skerry-amd64.iso (CONFIG=config.yaml puts it on; MODE=install installs by itself)
	@$(IMAGES) iso --release $(OUT) --out $(OUT)/skerry-amd64.iso $(if $(CONFIG),--config $(CONFIG)) $(if $(MODE),--mode $(MODE))

run: image ## Boot it in QEMU to a Ready node and stay on its console (ONCE=1: power off and exit)
	@$(TESTS) run-node -- $(OUT)

cluster: image ## Boot N machines (3), SERVERS (1) of them servers, that join one cluster, and leave them running
	@$(TESTS) cluster -- up $(or $(N),3) $(or $(SERVERS),1) $(OUT)

cluster-status: ## What runs of it, and how to reach it
	@$(TESTS) cluster -- status

cluster-down: ## Switch it off
	@$(TESTS) cluster -- down

test: ## Every test that this machine can run (REQUIRE=all: a skip is a failure; ONLY=word: some)
	@$(TESTS) suite -- $(if $(ONLY),--only $(ONLY))

torture: ## The slow machine tests too (N: how often, SEED: replays; ONLY=word: some)
	@$(TESTS) suite -- --torture $(if $(ONLY),--only $(ONLY))

ci: test ## The same

bench: image ## Our figures beside others', in one run
	@$(TESTS) bench

check: ## Format, lints and the quick tests
	@$(CARGO) fmt --all -- --check
	@$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	@$(CARGO) test --quiet --workspace

docs: ## Write the generated pages again: config/schema.json, config/REFERENCE.md
	@UPDATE=1 $(CARGO) test --quiet -p skerry-config

size: image ## What is in the image, by size
	@$(IMAGES) size --out $(OUT)

clean: ## Remove out/ and target/ (the cache in ~/.cache/skerry stays)
	rm -rf $(OUT) target
