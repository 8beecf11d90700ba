package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// A receiver is the program that keeps the log at one site (package pglog). It lives in the folder receiver of the site's
// work folder: in it what hostproc knows of it, and in run the receiver's own files and two of ours, held and config.sum.

// place is where the receiver of a site runs.
func (p post) place() hostproc.Place {
	return hostproc.Place{Host: p.host, Folder: p.work, Sub: "receiver"}
}

// runFolder is the receiver's own folder.
func (p post) runFolder() string { return path.Join(p.work, "receiver", "run") }

// hold is what a move leaves at the site that it makes serve: nothing is received there from the old primary any more, by
// whoever does not know of the move.
type hold struct {
	Run   model.RunID `json:"run"`
	Token string      `json:"token"`
	At    time.Time   `json:"at"`
	// Timeline is that of the primary that the move brought up; 0 while it has not.
	Timeline uint32 `json:"timeline,omitempty"`
}

// seenReceiver is what there is of a site's receiver.
type seenReceiver struct {
	proc  hostproc.State
	state pglog.State
	known bool  // state is there
	held  *hold // nil: it is not held
	sum   string
	saved time.Time // when its configuration was written
	now   time.Time // by the host's clock
}

func (r seenReceiver) running() bool { return len(r.proc.Running) > 0 }

// silentFor is for how long a living receiver has not said anything.
func (r seenReceiver) silentFor() time.Duration {
	since := r.proc.Started
	if r.known && r.state.Updated.After(since) {
		since = r.state.Updated
	}
	return r.now.Sub(since)
}

// receiverScript says what is in a receiver's folder. It changes nothing.
const receiverScript = `
echo "now=$(date +%s)"
for f in ` + pglog.StateFile + ` held config.sum; do
	if [ -r "$1/$f" ]; then echo "$f=$(base64 <"$1/$f" | tr -d '\n')"; fi
done
exit 0`

// lookReceiver asks the host.
func (p post) lookReceiver(ctx context.Context) (seenReceiver, error) {
	var seen seenReceiver
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var err error
	if seen.proc, err = p.place().Look(ctx); err != nil {
		return seen, unavailable(err)
	}
	res, err := p.host.Script(ctx, receiverScript, p.runFolder())
	if err == nil {
		err = res.Err(failure.Unavailable, "look at", p.runFolder())
	}
	if err != nil {
		return seen, unavailable(err)
	}
	for line := range strings.Lines(res.Text()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name == "now" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return seen, failure.WrapAs(failure.Corrupt, err, "look at", p.runFolder())
			}
			seen.now = time.Unix(n, 0)
			continue
		}
		text, err := base64.StdEncoding.DecodeString(value)
		if err == nil {
			err = seen.file(name, text)
		}
		if err != nil {
			return seen, failure.WrapAs(failure.Corrupt, err, "read", path.Join(p.runFolder(), name))
		}
	}
	return seen, nil
}

// unavailable is the error of a question: it has no effect to be unsure of.
func unavailable(err error) error {
	if failure.KindOf(err) == failure.Indeterminate {
		return failure.WrapAs(failure.Unavailable, err, "", "")
	}
	return err
}

// file takes one file of the folder.
func (r *seenReceiver) file(name string, text []byte) error {
	switch name {
	case pglog.StateFile:
		state, err := pglog.DecodeState(text)
		r.state, r.known = state, err == nil
		return err
	case "held":
		r.held = &hold{}
		return json.Unmarshal(text, r.held)
	case "config.sum":
		sum, at, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		n, err := strconv.ParseInt(at, 10, 64)
		r.sum, r.saved = sum, time.Unix(n, 0)
		return err
	}
	return nil
}

// receiverConfig is what the receiver at s is told, its references not resolved yet; servers are those at all sites.
func (s *server) receiverConfig(p post, servers []*server) pglog.Config {
	c := pglog.Config{Whose: s.whose(), Site: s.site, Name: s.receiver(), Slot: s.receiver(), Spool: s.spool(p), Vault: *s.vault}
	for _, o := range servers {
		words := []string{"host=" + connWord(o.at.Host), "port=" + strconv.Itoa(o.at.Port), "user=" + connWord(o.own.ReplicationUser),
			"sslmode=" + o.own.SSLMode, "connect_timeout=" + strconv.Itoa(int(max(1, o.timeout()/time.Second)))}
		if o.own.SSLRootCert != "" {
			words = append(words, "sslrootcert="+connWord(o.own.SSLRootCert))
		}
		c.Servers = append(c.Servers, pglog.Server{Site: o.site, Conn: strings.Join(words, " "), Password: o.own.ReplicationPassword})
	}
	return c
}

// fingerprint tells one configuration from another one.
func fingerprint(c pglog.Config) (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", failure.WrapAs(failure.Internal, err, "configure the receiver of", string(c.Resource))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// configScript puts a configuration from standard input in place.
const configScript = `umask 077
mkdir -p "$1" && cat >"$1/` + pglog.ConfigFile + `.$$" && mv "$1/` + pglog.ConfigFile + `.$$" "$1/` + pglog.ConfigFile + `" &&
echo "$2 $(date +%s)" >"$1/sum.$$" && mv "$1/sum.$$" "$1/config.sum"`

// configure writes the configuration, with its secrets, where only the receiver's user reads it.
func (p post) configure(ctx context.Context, c pglog.Config, sum string) error {
	sealed, err := vaultjob.Seal(ctx, c.Vault)
	if err != nil {
		return err
	}
	for i := range c.Servers {
		if c.Servers[i].Password, err = sealed.Add(ctx, c.Servers[i].Password); err != nil {
			return err
		}
	}
	c.Vault, c.Secrets = sealed.Vault, sealed.Secrets
	text, err := c.Encode()
	if err != nil {
		return err
	}
	res, err := p.host.ScriptIn(ctx, bytes.NewReader(text), configScript, p.runFolder(), sum)
	if err != nil {
		return err
	}
	return res.Err(failure.Denied, "write the receiver's configuration to", p.runFolder())
}

// startReceiver starts the receiver unless it runs or is held: a hold that comes while it starts is seen by the first thing
// that runs, and one that comes later finds it running.
func (p post) startReceiver(ctx context.Context, sum string) error {
	_, err := p.place().Start(ctx, hostproc.Spec{Token: rand.Text(), Same: sum, Argv: []string{
		"sh", "-c", `[ ! -e "$1/held" ] || exit 0; exec "$0" ` + pglog.Program + ` "$1"`, p.binary, p.runFolder()}})
	return err
}

// Bounds of ending a receiver: it folds what it has for as long as it can.
const (
	drainTime = 12 * time.Second
	endTime   = 5 * time.Second // after SIGKILL
)

// stopReceiver ends it: in order, else by force. It says how, "" when nothing ran.
func (p post) stopReceiver(ctx context.Context) (how string, err error) {
	st, err := p.place().Signal(ctx, "TERM", "")
	if err != nil || len(st.Running) == 0 {
		return "", err
	}
	began := time.Now()
	for _, try := range []struct {
		signal string
		within time.Duration
	}{{"TERM", drainTime}, {"KILL", endTime}} {
		if try.signal == "KILL" {
			if _, err := p.place().Signal(ctx, "KILL", ""); err != nil {
				return "", err
			}
		}
		for end := time.Now().Add(try.within); time.Now().Before(end); {
			if st, err = p.place().Look(ctx); err != nil {
				return "", unavailable(err)
			}
			if len(st.Running) == 0 {
				if try.signal == "KILL" {
					return "killed, since it did not end", nil
				}
				return "stopped in order within " + time.Since(began).Round(10*time.Millisecond).String(), nil
			}
			if !pause(ctx, 50*time.Millisecond) {
				return "", failure.Wrap(ctx.Err(), "stop", "the receiver")
			}
		}
	}
	return "", failure.New(failure.Unavailable, "stop", "the receiver", "processes %s do not end", hostproc.Pids(st.Running))
}

// pause waits, and reports whether it waited to the end.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// holdReceiver keeps the receiver at s from being started by anybody, and ends it. It says how.
func (d *Driver) holdReceiver(ctx context.Context, s *server, req driver.Request) (string, error) {
	if s.vault == nil {
		return "", nil
	}
	p, err := s.post()
	if err != nil {
		return "", err
	}
	if err := p.writeHold(ctx, hold{Run: req.Run, Token: req.Token, At: d.now().UTC()}); err != nil {
		return "", err
	}
	return p.stopReceiver(ctx)
}

// writeHold writes a hold durably.
func (p post) writeHold(ctx context.Context, h hold) error {
	text, err := json.Marshal(h)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", "held")
	}
	res, err := p.host.ScriptIn(ctx, bytes.NewReader(text), `umask 077
mkdir -p "$1" && cat >"$1/held.$$" && mv "$1/held.$$" "$1/held" && { sync "$1/held" "$1" 2>/dev/null || sync; }`, p.runFolder())
	if err != nil {
		return err
	}
	return res.Err(failure.Denied, "write", path.Join(p.runFolder(), "held"))
}

// dropHold lets the receiver be started again.
func (p post) dropHold(ctx context.Context) error {
	res, err := p.host.Script(ctx, `rm -f "$1/held"`, p.runFolder())
	if err != nil {
		return err
	}
	return res.Err(failure.Denied, "remove", path.Join(p.runFolder(), "held"))
}
