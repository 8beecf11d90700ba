package cli_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/cli"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vaultservice"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMain lets scripts run the command line as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lifeboat-vault": lifeboat})
}

// lifeboat is the program, with `vault` typed already and cheap passwords. Vaults that LIFEBOAT_TEST_VAULTS lists, as
// NAME=URL, stand for those in lifeboat.yaml; their password is in $LIFEBOAT_TEST_SECRET.
func lifeboat() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	args := append([]string{"vault"}, os.Args[1:]...)
	if len(args) > 1 && args[1] == "__complete" {
		args[0], args[1] = args[1], args[0]
	}
	os.Exit(cli.Main(context.Background(), args, cli.Deps{
		Vaults: func(opt cli.OpenOptions, stderr io.Writer) api.Vaults {
			return vaultservice.New(vaultservice.Options{
				Log: opt.Log, Stderr: stderr, Named: named, Engine: vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}},
			})
		},
		Version: "1.2.3", Signals: signals,
	}))
}

func named(_ context.Context, name string) (*model.Vault, error) {
	for _, word := range strings.Fields(os.Getenv("LIFEBOAT_TEST_VAULTS")) {
		n, url, _ := strings.Cut(word, "=")
		if n == name {
			return &model.Vault{Name: n, URL: url, Password: "env:LIFEBOAT_TEST_SECRET"}, nil
		}
	}
	return nil, failure.New(failure.NotFound, "find the vault", name, "lifeboat.yaml names no such vault")
}

// TestVaultScripts runs testdata/vault/*.txtar: the real program on real repositories, with restic as the judge. Their own
// commands:
//
//	exits N PROGRAM ARGS  run a program that ends with this exit code
//	keep NAME REGEXP      put what the expression's group matches in the last standard output into $NAME; with several
//	                      matches the last
//	damage PATTERN        flip a bit in the middle of each file that matches
func TestVaultScripts(t *testing.T) {
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic is not installed: run test/servers/install.sh restic")
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/vault", UpdateScripts: flag.Lookup("update").Value.String() == "true", RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RESTIC_REPOSITORY", filepath.Join(env.WorkDir, "vault"))
			env.Setenv("RESTIC_PASSWORD", "correct horse")
			env.Setenv("RESTIC_CACHE_DIR", filepath.Join(env.WorkDir, ".cache"))
			env.Setenv("RESTIC_PROGRESS_FPS", "0.01")
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"keep": func(ts *testscript.TestScript, _ bool, args []string) {
				found := regexp.MustCompile("(?m)"+args[1]).FindAllStringSubmatch(ts.ReadFile("stdout"), -1)
				if found == nil {
					ts.Fatalf("the last output does not match %s", args[1])
				}
				ts.Setenv(args[0], found[len(found)-1][1])
			},
			"damage": func(ts *testscript.TestScript, _ bool, args []string) {
				files, err := filepath.Glob(ts.MkAbs(args[0]))
				ts.Check(err)
				if len(files) == 0 {
					ts.Fatalf("nothing matches %s", args[0])
				}
				for _, path := range files {
					ts.Check(flip(path))
				}
			},
		},
	})
}

// flip changes one bit in the middle of a file.
func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return fmt.Errorf("%s: %d bytes, %w", path, len(b), err)
	}
	b[len(b)/2] ^= 4
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}
