package postgres

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// ValidateResource has the rules that go over settings and vault. Messages name the field.
func (d *Driver) ValidateResource(r model.Resource) error {
	own, err := driver.Decode[Settings](r.Settings)
	if err != nil {
		return err
	}
	if r.Vault != nil {
		return nil
	}
	switch {
	case own.Recovery == FromVault:
		return fmt.Errorf("settings.recovery: is vault, and the resource names no vault to recover from")
	case own.Seed == SeedVault:
		return fmt.Errorf("settings.seed: is vault, and the resource names no vault")
	case own.KeepLog:
		return fmt.Errorf("settings.keep_log: is set, and the resource names no vault that log is received for")
	case own.MaxRate != 0:
		return fmt.Errorf("settings.max_rate: bounds captures, and the resource names no vault to capture into")
	}
	return nil
}

// ActionOf says what the actions do where recovery is from the vault.
func (d *Driver) ActionOf(r model.Resource, action model.Action) driver.ActionFacts {
	own, err := driver.Decode[Settings](r.Settings)
	if err != nil || own.Recovery != FromVault {
		return driver.ActionFacts{}
	}
	switch action {
	case model.ActionQuiesce:
		return driver.ActionFacts{Effect: "shuts the primary down in order; all of its log is received before it ends"}
	case model.ActionPromote:
		return driver.ActionFacts{Verb: "bring back", Timeout: 24 * time.Hour,
			Effect: "stops receiving, restores the newest recovery point and all of the log into the data folder, and starts the server as a primary on a new timeline; " +
				"what differs in an old copy is written over, and one that may hold more than the log is moved aside"}
	case model.ActionReverse:
		return driver.ActionFacts{Verb: "receive the log for",
			Effect: "keeps the log of the other site's primary here; before a failback an old copy is made to follow where it can, as it is or by pg_rewind"}
	case model.ActionDrill:
		return driver.ActionFacts{Timeout: 24 * time.Hour, Effect: "restores the newest recovery point and the log into the drill folder and starts the copy, cut off from everything"}
	}
	return driver.ActionFacts{}
}

// validateVault is ValidateResource for a resource that comes from elsewhere than the configuration.
func validateVault(own Settings, r model.Resource) error {
	if r.Vault == nil && (own.Recovery == FromVault || own.Seed == SeedVault) {
		return failure.New(failure.Invalid, "use", string(r.ID), "it names no vault to recover from").WithHint("name one, as in vault: main")
	}
	return nil
}

// fromVault reports whether a failover to this site restores from the vault.
func (s *server) fromVault() bool { return s.own.Recovery == FromVault }

// whose says whose points those in the vault are.
func (s *server) whose() pgpoint.Whose { return pgpoint.Whose{App: s.app, Resource: s.id} }

// maxName is how long an application name, and a slot's, may be (NAMEDATALEN - 1).
const maxName = 63

// receiverName is the application name, and the slot, of the receiver at a site: lifeboat_APP_RESOURCE_SITE in the letters
// that a slot may have.
func receiverName(app model.AppID, id model.ResourceID, site model.SiteID) string {
	whole := string(app) + "_" + string(id) + "_" + string(site)
	name := "lifeboat_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, strings.ToLower(whole))
	if len(name) <= maxName {
		return name
	}
	f := fnv.New32a()
	_, _ = f.Write([]byte(whole)) // never fails
	return fmt.Sprintf("%s_%08x", name[:maxName-9], f.Sum32())
}

func (s *server) receiver() string { return receiverName(s.app, s.id, s.site) }

// post is where work for the copy at a site is done: on its host where that may be used, else where Lifeboat runs.
type post struct {
	host   hostexec.Host
	work   string // a folder of ours there, absolute
	binary string // the lifeboat there
	onHost bool   // of the copy
}

// post finds where work for s is done. It asks nobody.
func (s *server) post() (post, error) {
	if s.at.Data == "" {
		binary, err := vaultjob.Binary(s.at.Lifeboat, nil, nil)
		if err != nil {
			return post{}, err
		}
		state, err := localState()
		if err != nil {
			return post{}, err
		}
		return post{work: filepath.Join(state, "postgres", string(s.app), string(s.id), string(s.site)), binary: binary}, nil
	}
	via := s.at.Via
	if staysHere(via) {
		via = nil // this program is there
	}
	binary, err := vaultjob.Binary(s.at.Lifeboat, via, nil)
	return post{host: s.host(), work: s.at.Work, binary: binary, onHost: true}, err
}

// localState is the folder for what is kept where Lifeboat runs.
func localState() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "lifeboat"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", failure.New(failure.Invalid, "find a folder for", "what is received", "HOME is not set").WithHint("set XDG_STATE_HOME, or data at the site")
	}
	return filepath.Join(home, ".local", "state", "lifeboat"), nil
}

// spool is where received log lies.
func (s *server) spool(p post) string {
	if s.at.Spool != "" {
		return s.at.Spool
	}
	return path.Join(p.work, "spool")
}

// job is the folder of one piece of work.
func (p post) job(token string) string { return path.Join(p.work, "jobs", token) }

// ready reports whether the lifeboat there can be run: nil, or why not.
func (p post) ready(ctx context.Context) error {
	res, err := p.host.Script(ctx, `case $1 in */*) [ -x "$1" ] ;; *) command -v "$1" >/dev/null ;; esac`, p.binary)
	if err != nil {
		return err
	}
	if res.Code != 0 {
		return failure.New(failure.NotFound, "run", p.binary, "there is no such program on the host, or the server's user may not run it").
			WithHint("install lifeboat there, or set lifeboat at the site")
	}
	return nil
}

// here is the place of work for s where Lifeboat runs.
func (s *server) here() (post, error) {
	own := *s
	own.at.Data, own.at.Lifeboat = "", ""
	return own.post()
}
