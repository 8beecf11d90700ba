// Package programs makes programs of the demo's services: the shop and the name server, as hidden commands of the
// lifeboat binary, so that one file is all that the demo needs.
//
// Start with [All].
package programs

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/nameserver"
	"github.com/lifeboat-dr/lifeboat/internal/demo/shop"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// The names of the commands.
const (
	Shop       = "demo-shop"
	NameServer = "demo-dns"
)

// All gives each command by its name. A command takes the words after its name, and serves until ctx ends or it is
// sent SIGTERM or SIGINT; then it finishes what is under way and returns nil.
func All() map[string]func(ctx context.Context, args []string) error {
	return map[string]func(context.Context, []string) error{Shop: runShop, NameServer: runNameServer}
}

// runShop is `lifeboat demo-shop`.
func runShop(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(Shop, flag.ContinueOnError)
	listen := flags.String("listen", "", "host:port to take orders at")
	database := flags.String("database", "", "host:port of PostgreSQL")
	name := flags.String("name", "shop", "the database's name")
	user := flags.String("user", "shop", "the role to connect as")
	password := flags.String("password", "", "a reference to its password, such as file:PATH")
	uploads := flags.String("uploads", "", "the folder of uploaded files")
	log := flags.String("log", "", "a file to log to (default: standard error)")
	if err := parse(flags, args); err != nil {
		return err
	}
	ref, err := secret.Parse(*password)
	if err != nil {
		return failure.Wrap(err, Shop, "--password")
	}
	logger, closeLog, err := openLog(*log)
	if err != nil {
		return err
	}
	defer closeLog()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := shop.New(ctx, shop.Config{Listen: *listen, Database: *database, Name: *name, User: *user, Password: ref, Uploads: *uploads, Log: logger})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

// runNameServer is `lifeboat demo-dns`.
func runNameServer(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(NameServer, flag.ContinueOnError)
	cfg := nameserver.Config{}
	flags.StringVar(&cfg.Listen, "listen", "", "host:port to answer at, over UDP and TCP")
	flags.StringVar(&cfg.Zone, "zone", "", "the zone's name")
	flags.StringVar(&cfg.File, "file", "", "a file to keep the zone in")
	flags.Func("record", "one of the zone's first records, in zone file format; may be given again", func(text string) error {
		cfg.Records = append(cfg.Records, text)
		return nil
	})
	flags.StringVar(&cfg.Key.Name, "key", "", "the name of the TSIG key that updates are signed with")
	flags.StringVar(&cfg.Key.Algorithm, "algorithm", "hmac-sha256.", "the key's algorithm")
	ref := flags.String("secret", "", "a reference to the key in base64, such as file:PATH")
	if err := parse(flags, args); err != nil {
		return err
	}
	parsed, err := secret.Parse(*ref)
	if err != nil {
		return failure.Wrap(err, NameServer, "--secret")
	}
	value, err := parsed.Resolve(ctx)
	if err != nil {
		return err
	}
	cfg.Key.Secret = value.Reveal()
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := nameserver.Start(cfg)
	if err != nil {
		return err
	}
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Close(closing)
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return failure.WrapAs(failure.Invalid, err, flags.Name(), "")
	}
	if flags.NArg() > 0 {
		return failure.New(failure.Invalid, flags.Name(), "", "unexpected %q", flags.Arg(0))
	}
	return nil
}

func openLog(path string) (*slog.Logger, func(), error) {
	if path == "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil)), func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, failure.WrapAs(failure.Denied, err, "open log", path)
	}
	return slog.New(slog.NewTextHandler(f, nil)), func() { f.Close() }, nil
}
