package pglog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Program is the first word of the command line that runs a receiver: lifeboat pg-receiver FOLDER.
const Program = "pg-receiver"

// Main runs the receiver whose folder is args[0]: its configuration is there (Config.Save), and it leaves its state there
// (ReadState). Only one runs in a folder: another one ends at once with Conflict. It ends in order, with everything flushed
// and folded as far as that is possible in a few seconds, by SIGTERM; a configuration that is replaced is picked up.
func Main(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return failure.New(failure.Invalid, Program, "", "it is started by lifeboat itself, with the folder of a receiver")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	for ctx.Err() == nil {
		if err := generation(ctx, args[0], again, log); err != nil {
			return err
		}
	}
	return nil
}

// generation runs with one configuration, until another one is there.
func generation(ctx context.Context, folder string, again <-chan os.Signal, log *slog.Logger) error {
	c, err := load(folder)
	if err != nil {
		return err
	}
	was := changed(folder)
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again:
			case <-tick.C:
				if is := changed(folder); is == was || is == "" {
					continue
				}
			}
			if _, err := load(folder); err != nil {
				log.Error("the new configuration cannot be used: the old one stays", "error", err)
				was = changed(folder)
				continue
			}
			log.Info("the configuration was replaced")
			cancel()
			return
		}
	})
	err = Run(ctx, Options{Config: c, Folder: folder, Log: log})
	cancel()
	watching.Wait()
	return err
}

// changed tells one state of the configuration's file from another; empty: it is not there.
func changed(folder string) string {
	info, err := os.Stat(filepath.Join(folder, configFile))
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Sys().(*syscall.Stat_t).Ino)
}
