package job

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/model"
)

// settingsFiles are a site's own, in a data folder that holds them.
var settingsFiles = []string{"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"}

// promote makes the newest state a primary in the site's data folder, and leaves it running.
func (w *worker) promote(ctx context.Context) error {
	t := w.req.Target
	if err := w.drained(ctx); err != nil {
		return err
	}
	own, err := there(filepath.Join(t.Data, "postgresql.auto.conf"))
	if err != nil {
		return err
	}
	v, o, done, err := w.options(ctx)
	if err != nil {
		return err
	}
	defer done()
	if t.Aside != "" {
		if own, err = w.aside(); err != nil {
			return err
		}
	}
	o.Server.Settings = merged(t.Settings)
	if !own {
		o.Server.Settings = merged(t.Settings, t.Fresh)
	}
	o.Overwrite, o.Keep, o.Server.Start = pgrestore.SameSystem, settingsFiles, t.Start
	o.After, o.Leave = pgrestore.Promote, pgrestore.Running
	_, err = w.run(ctx, v, o)
	return err
}

// drained waits until the site's receiver has ended, so that nothing is acknowledged any more that would not be restored. One
// that does not end is killed: what it had acknowledged is in its spool.
func (w *worker) drained(ctx context.Context) error {
	if w.req.Target.Receiver == "" {
		return nil
	}
	w.Phase("waiting for the receiver to fold what it has and end")
	began := time.Now()
	how := "in order"
	for killed := false; ; time.Sleep(20 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "end", "the receiver")
		}
		state, err := pglog.ReadState(w.req.Target.Receiver)
		if err != nil && failure.KindOf(err) == failure.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		switch waited := time.Since(began); {
		case !state.Running:
			if waited > time.Millisecond {
				w.Set("receiver", fmt.Sprintf("ended %s in %s; everything that it acknowledged is in its spool or in the vault", how, waited.Round(time.Millisecond)))
			}
			return nil
		case !killed && state.Pid > 0 && (waited > drainTime || frozen(state.Pid)):
			how, killed = "by force", true
			if err := syscall.Kill(state.Pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return failure.WrapAs(failure.Denied, err, "end the receiver with process", strconv.Itoa(state.Pid))
			}
		case waited > drainTime+10*time.Second:
			return failure.New(failure.Unavailable, "end the receiver with process", strconv.Itoa(state.Pid), "it does not end")
		}
	}
}

// drainTime is how long a receiver may take to fold what it has: the restore reads its spool all the same.
const drainTime = 12 * time.Second

// frozen reports whether a process is stopped by a signal: nothing but SIGKILL ends it then.
func frozen(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name may hold anything but this
	return strings.HasPrefix(after, "T")
}

// aside moves an old data folder out of the way, if there is one, and reports whether its settings stay.
func (w *worker) aside() (bool, error) {
	t := w.req.Target
	old, err := there(filepath.Join(t.Data, "PG_VERSION"))
	if err != nil || !old {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(t.Aside), 0o700); err != nil {
		return false, failure.WrapAs(failure.Denied, err, "make", filepath.Dir(t.Aside))
	}
	if err := os.Rename(t.Data, t.Aside); err != nil {
		return false, failure.WrapAs(failure.Denied, err, "move aside", t.Data).
			WithHint("it may hold transactions that nobody else has, so it is not written over; move it away by hand, then retry")
	}
	w.Set("old", "kept at "+t.Aside+": it may hold transactions that are in no log")
	return false, nil
}

// drill makes the newest state a primary of its own: other port, other folder, nothing archived, nobody followed.
func (w *worker) drill(ctx context.Context) error {
	v, o, done, err := w.options(ctx)
	if err != nil {
		return err
	}
	defer done()
	if o.Server.HBA, err = w.hba(ctx, v, o); err != nil {
		return err
	}
	t := w.req.Target
	if o.Server.Port, err = freePort(t.Listen, t.Port, t.Fixed); err != nil {
		return err
	}
	o.Server.Isolated, o.Server.Listen = true, t.Listen
	o.Server.Settings = merged(t.Settings, map[string]string{"cluster_name": "lifeboat-drill"})
	o.After, o.Leave = pgrestore.Promote, pgrestore.Running
	// What the copy has outside of its folder is here, where a release finds it, also of a drill that was killed.
	if err := os.MkdirAll(t.Temp, 0o711); err != nil {
		return failure.WrapAs(failure.Denied, err, "make", t.Temp)
	}
	if err := os.Setenv("TMPDIR", t.Temp); err != nil {
		return failure.WrapAs(failure.Internal, err, "use", t.Temp)
	}
	if _, err := w.run(ctx, v, o); err != nil {
		return err
	}
	w.Set("port", strconv.Itoa(o.Server.Port))
	return nil
}

// hba gives the rules by which the cluster itself lets clients in: its checks log in to the copy as they would to the
// cluster.
func (w *worker) hba(ctx context.Context, v *vault.Vault, o pgrestore.Options) ([]string, error) {
	var text []byte
	var err error
	if o.Server.Config != "" {
		text, err = os.ReadFile(filepath.Join(filepath.Dir(o.Server.Config), "pg_hba.conf"))
		if err != nil {
			return nil, failure.WrapAs(failure.Denied, err, "read", "pg_hba.conf")
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n"), nil
	}
	bases, err := pgpoint.Bases(ctx, v, w.req.Whose)
	if len(bases) == 0 {
		return nil, err
	}
	text, err = pgpoint.ReadFile(ctx, v, *bases[len(bases)-1].Snapshot.Tree, pgpoint.DataPath+"/pg_hba.conf")
	if err != nil {
		return nil, failure.From(failure.Wrap(err, "see who is let in", "pg_hba.conf")).WithHint("set config at the site, where the server's settings are not in its data folder")
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), nil
}

// freePort finds a port that nobody listens on.
func freePort(host string, first int, fixed bool) (int, error) {
	last := first + 50
	if fixed {
		last = first
	}
	var why error
	for port := first; port <= last; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			why = err
			continue
		}
		return port, l.Close()
	}
	return 0, failure.WrapAs(failure.Conflict, why, "find a port for", "the copy").WithHint("set drill.host and drill.port at the site")
}

// seed makes the newest state a standby's data folder, to be started by whoever asked for it.
func (w *worker) seed(ctx context.Context) error {
	v, o, done, err := w.options(ctx)
	if err != nil {
		return err
	}
	defer done()
	o.After, o.Lenient = pgrestore.Shutdown, true
	_, err = w.run(ctx, v, o)
	return err
}

// restore brings back what a person asked for: into a folder, where the copy stays apart from everything when it runs, or in
// place.
func (w *worker) restore(ctx context.Context) error {
	v, o, done, err := w.options(ctx)
	if err != nil {
		return err
	}
	defer done()
	t := w.req.Target
	o.Target, o.Overwrite, o.After = t.To, t.Overwrite, pgrestore.Promote
	if t.Run {
		o.Leave = pgrestore.Running
	}
	if t.Listen != "" {
		return w.restoreApart(ctx, v, o)
	}
	own, err := there(filepath.Join(t.Data, "postgresql.auto.conf"))
	if err != nil {
		return err
	}
	o.Server.Settings, o.Server.Start = merged(t.Settings), t.Start
	if !own {
		o.Server.Settings = merged(t.Settings, t.Fresh)
	}
	o.Keep = settingsFiles
	_, err = w.run(ctx, v, o)
	return err
}

// restoreApart leaves a copy that can be looked at.
func (w *worker) restoreApart(ctx context.Context, v *vault.Vault, o pgrestore.Options) error {
	t := w.req.Target
	var err error
	if o.Server.HBA, err = w.hba(ctx, v, o); err != nil {
		return err
	}
	if o.Server.Port, err = freePort(t.Listen, t.Port, t.Fixed); err != nil {
		return err
	}
	o.Server.Isolated, o.Server.Listen, o.Server.Settings = true, t.Listen, map[string]string{"cluster_name": "lifeboat-restore"}
	if _, err = w.run(ctx, v, o); err == nil {
		w.Set("port", strconv.Itoa(o.Server.Port))
	}
	return err
}

// options opens the vault, or a replica of it, and says what all restores have in common. The caller calls done.
func (w *worker) options(ctx context.Context) (v *vault.Vault, o pgrestore.Options, done func(), err error) {
	return w.optionsOf(ctx, w.OpenAny)
}

// opener opens a vault; the caller calls what it gives.
type opener func(context.Context, model.Vault) (*vault.Vault, func(), error)

func (w *worker) optionsOf(ctx context.Context, open opener) (v *vault.Vault, o pgrestore.Options, done func(), err error) {
	t := w.req.Target
	if t == nil {
		return nil, o, nil, failure.New(failure.Internal, "restore", string(w.req.Resource), "the request names no target")
	}
	if v, done, err = open(ctx, w.req.Vault); err != nil {
		return nil, o, nil, err
	}
	o = pgrestore.Options{
		Vault: v, Whose: w.req.Whose, Data: t.Data, Spaces: t.Spaces, Spools: t.Spools, Bin: t.Bin, ServerLog: t.Log, Log: w.Log,
		Server:   pgrestore.Server{Config: t.Config, User: t.User},
		Progress: func(p pgrestore.Progress) { w.Phase("%s", restoreText(p)) },
	}
	if err := w.choose(ctx, v, &o); err != nil {
		done()
		return nil, o, nil, err
	}
	return v, o, done, nil
}

// choose keeps points that are known to be bad out, and finds the server's programs and places for the tablespaces.
func (w *worker) choose(ctx context.Context, v *vault.Vault, o *pgrestore.Options) error {
	t := w.req.Target
	bases, err := pgpoint.Bases(ctx, v, w.req.Whose)
	if err != nil && len(bases) == 0 {
		return err
	}
	if len(bases) == 0 {
		return failure.New(failure.NotFound, "find a recovery point of", string(w.req.Resource), "there is none in %s", v.Location()).
			WithHint("lifeboat protect %s --now", w.req.App)
	}
	proofs, err := pgpoint.Proofs(ctx, v, w.req.Whose)
	if err != nil {
		w.Log.Warn("which points are proved cannot be read", "error", err)
	}
	good, only := pgpoint.Usable(bases, proofs)
	for _, b := range bases {
		p, proved := proofs[*b.Snapshot.Tree]
		if proved && !p.OK && !only {
			o.Avoid = append(o.Avoid, b.Snapshot.ID)
		}
	}
	if only {
		w.Set("warning", "every point failed its last proof; the newest is used, for a bad copy is better than none")
	}
	if t.Point != "" {
		id, err := object.ParseID(t.Point)
		if err != nil {
			return err
		}
		o.Base = id
	}
	newest := good[len(good)-1]
	for _, b := range bases {
		if b.Snapshot.ID == o.Base {
			newest = b
		}
	}
	if o.Bin == "" {
		if o.Bin, err = programs(newest.Major); err != nil {
			return err
		}
	}
	spaces := map[string]string{}
	for _, s := range newest.Spaces {
		switch to, named := t.Spaces[s.Location]; {
		case t.Apart:
			spaces[s.OID] = filepath.Join(filepath.Dir(t.Data), "tablespaces", s.OID)
		case named:
			spaces[s.OID] = to
		}
	}
	o.Spaces = spaces
	return nil
}

// programs finds the folder of PostgreSQL's programs.
func programs(major int) (string, error) {
	v := strconv.Itoa(major)
	for _, dir := range []string{"/usr/lib/postgresql/" + v + "/bin", "/usr/pgsql-" + v + "/bin", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql@" + v + "/bin", "/usr/local/opt/postgresql@" + v + "/bin"} {
		if ok, err := there(filepath.Join(dir, "pg_ctl")); err == nil && ok {
			return dir, nil
		}
	}
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", failure.New(failure.NotFound, "find", "the programs of PostgreSQL "+v, "they are in none of the usual places").
		WithHint("install PostgreSQL %s here, or set bin at the site", v)
}

// run restores, and says what came of it.
func (w *worker) run(ctx context.Context, _ *vault.Vault, o pgrestore.Options) (*pgrestore.Result, error) {
	res, err := pgrestore.Run(ctx, o)
	if res != nil {
		w.tell(res)
	}
	return res, err
}

// tell leaves what a restore did.
func (w *worker) tell(res *pgrestore.Result) {
	if res.Base.Snapshot == nil {
		return
	}
	w.Set("point", res.Base.Snapshot.ID.String())
	w.Set("base", res.Base.Ended.UTC().Format(time.RFC3339)+" from "+string(pgpoint.SiteOf(res.Base.Snapshot)))
	if res.Reached != 0 {
		w.Set("reached", res.Reached.String())
	}
	if !res.LastCommit.IsZero() {
		w.Set("last_commit", res.LastCommit.UTC().Format(time.RFC3339Nano))
	}
	if res.Why != "" {
		w.Set("stopped", res.Why)
	}
	if res.Timeline != 0 {
		w.Set("timeline", strconv.FormatUint(uint64(res.Timeline), 10))
	}
	w.Set("files", fmt.Sprintf("%d, %s: %s written, %s found right", res.Files, units.Bytes(res.Bytes), units.Bytes(res.Written), units.Bytes(res.Reused)))
	w.Set("log", fmt.Sprintf("%d segments, %s replayed", res.Segments, units.Bytes(res.LogBytes)))
	var took []string
	for _, t := range res.Took {
		took = append(took, fmt.Sprintf("%s %.1f s", t.Phase, t.Seconds))
	}
	w.Set("took", strings.Join(took, ", "))
	if text, err := json.Marshal(res.Took); err == nil {
		w.Set("history", string(text))
	}
	if len(res.Warnings) > 0 {
		w.Set("warnings", strings.Join(res.Warnings, "; "))
	}
}

// restoreText is how far a restore is, for people.
func restoreText(p pgrestore.Progress) string {
	switch p.Phase {
	case pgrestore.Planning:
		return "choosing the base point and the log"
	case pgrestore.Restoring:
		if p.BytesTotal == 0 {
			return "restoring the base point"
		}
		text := "restoring " + units.Bytes(p.Bytes) + " of " + units.Bytes(p.BytesTotal)
		if s := p.Elapsed.Seconds(); s > 1 && p.Bytes > 0 && p.BytesTotal > p.Bytes {
			rate := float64(p.Bytes) / s
			text += fmt.Sprintf(", %s/s, %s left", units.Bytes(int64(rate)),
				units.Duration(time.Duration(float64(p.BytesTotal-p.Bytes)/rate*float64(time.Second)).Round(time.Second)))
		}
		return text
	case pgrestore.Recovering:
		return fmt.Sprintf("replaying the log: %s of %s", p.At, p.To)
	case pgrestore.Judging:
		return "judging what was reached"
	case pgrestore.Promoting:
		return "making it a primary"
	}
	return "finishing"
}

// there reports whether a file is there.
func there(path string) (bool, error) {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return true, nil
	case os.IsNotExist(err):
		return false, nil
	}
	return false, failure.WrapAs(failure.Denied, err, "look at", path)
}

// merged joins settings; later ones win.
func merged(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}
