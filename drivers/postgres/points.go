package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// jobHandle names a job of this binary on a host; what became of it is there.
type jobHandle struct {
	Host hostexec.Host `json:"host"`
	Job  string        `json:"job"` // its folder
}

// Capture makes a base point of the primary at req.Site: on its host, reading files, where that may be used and has a
// lifeboat; else by the replication protocol, from where Lifeboat runs.
func (d *Driver) Capture(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.beginJob(ctx, req, job.Capture)
}

// Copy brings the vault's replicas in step.
func (d *Driver) Copy(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.beginJob(ctx, req, job.Copy)
}

// Expire removes the points that the policy does not keep.
func (d *Driver) Expire(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.beginJob(ctx, req, job.Expire)
}

// beginJob starts the job for a request, once.
func (d *Driver) beginJob(ctx context.Context, req driver.Request, op job.Op) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	at, err := s.workplace(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, string(req.Action), s.subject())
	}
	r, err := s.request(ctx, req, op, at)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, string(req.Action), s.subject())
	}
	if op == job.Capture {
		if r.Source, err = s.source(ctx, &r.Sealed); err != nil {
			return driver.Handle{}, failure.Wrap(err, "capture", s.subject())
		}
		r.MaxRate = int64(s.own.MaxRate)
		if at.onHost {
			r.Folder = s.at.Data
		}
	}
	return d.startJob(ctx, req, s, at, at.job(req.Token), r)
}

// workplace is where a job for s runs: its host if that can be used and has a lifeboat, else here.
func (s *server) workplace(ctx context.Context) (post, error) {
	at, err := s.post()
	if err != nil || !at.onHost {
		return at, err
	}
	if err = s.hostAccess(ctx); err == nil {
		err = at.ready(ctx)
	}
	if err == nil || failure.KindOf(err) == failure.Unavailable {
		return at, err // a host that does not answer now is tried again
	}
	return s.here()
}

// request fills in what every job is told.
func (s *server) request(ctx context.Context, req driver.Request, op job.Op, at post) (job.Request, error) {
	r := job.Request{Whose: s.whose(), Op: op, Site: s.site, Token: req.Token, Work: at.work}
	if s.vault == nil {
		return r, failure.New(failure.Invalid, "", "", "it names no vault").WithHint("name one, as in vault: main")
	}
	if !vaultjob.IsToken(req.Token) {
		return r, failure.New(failure.Invalid, "", "", "%q is no token", req.Token)
	}
	if req.Resource.Points != nil {
		r.Keep = req.Resource.Points.Keep
	}
	var err error
	r.Sealed, err = vaultjob.Seal(ctx, *s.vault)
	return r, err
}

// source is how a job logs in at s, with its passwords sealed.
func (s *server) source(ctx context.Context, sealed *vaultjob.Sealed) (*job.Source, error) {
	password, err := sealed.Add(ctx, s.own.Password)
	if err != nil {
		return nil, err
	}
	replication := password
	if s.own.ReplicationPassword != s.own.Password {
		if replication, err = sealed.Add(ctx, s.own.ReplicationPassword); err != nil {
			return nil, err
		}
	}
	return &job.Source{Host: s.at.Host, Port: s.at.Port, Database: s.own.Database, User: s.own.User, Password: password,
		ReplicationUser: s.own.ReplicationUser, ReplicationPassword: replication, SSLMode: s.own.SSLMode, SSLRootCert: s.own.SSLRootCert,
		ConnectTimeout: int(max(1, s.timeout()/time.Second))}, nil
}

// startJob starts a job in dir.
func (d *Driver) startJob(ctx context.Context, req driver.Request, s *server, at post, dir string, r job.Request) (driver.Handle, error) {
	if err := vaultjob.Start(ctx, at.host, dir, at.binary, job.Program, r); err != nil {
		return driver.Handle{}, failure.Wrap(err, string(req.Action), s.subject())
	}
	return driver.NewHandle(handleVersion, jobHandle{Host: at.host, Job: dir})
}

// jobValues are what a job leaves for people.
var jobValues = []string{"point", "at", "lsn", "way", "files", "bytes", "unchanged", "verified", "warnings", "copied", "removed", "freed"}

// evidence is what a job says of itself.
func evidence(state hostexec.JobState, names ...string) []model.Fact {
	var out []model.Fact
	for _, name := range names {
		if value := state.Values[name]; value != "" {
			out = append(out, model.Fact{Name: name, Value: value})
		}
	}
	return out
}

// observeJob follows a job that makes or keeps points.
func (d *Driver) observeJob(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[jobHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	subject := string(req.Resource.ID) + " at " + string(req.Site)
	state, err := v.Host.JobState(ctx, v.Job)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, string(req.Action), subject)
	}
	obs, ended := vaultjob.Judge(state, string(req.Action), subject)
	if !ended {
		return obs, nil
	}
	obs = driver.Observation{State: driver.Done, Evidence: evidence(state, jobValues...)}
	switch req.Action {
	case model.ActionRestore:
		return d.restored(req, state, v)
	case model.ActionCapture:
		at, err := time.Parse(time.RFC3339Nano, state.Values["at"])
		if err != nil {
			return driver.Observation{}, failure.WrapAs(failure.Corrupt, err, "capture", subject)
		}
		obs.Outputs = map[string]model.Value{"point": driver.Text(state.Values["point"]), "at": driver.Time(at)}
	}
	return obs, nil
}

// kept is what there is of a resource in its vault.
type kept struct {
	bases  []pgpoint.BasePoint
	logs   []pgpoint.LogPoint
	proofs map[string]model.Proof // by the base point's tree
}

// look reads what is in the vault. What cannot be understood is told in the error, beside the rest.
func (d *Driver) inVault(ctx context.Context, s *server) (kept, error) {
	k := kept{proofs: map[string]model.Proof{}}
	if s.vault == nil {
		return k, nil
	}
	err := d.vaults.With(ctx, *s.vault, d.open, func(v *vault.Vault) error {
		var err error
		if k.bases, err = pgpoint.Bases(ctx, v, s.whose()); err != nil {
			return err
		}
		if k.logs, err = pgpoint.Logs(ctx, v, s.whose()); err != nil {
			return err
		}
		proofs, err := pgpoint.Proofs(ctx, v, s.whose())
		for tree, p := range proofs {
			k.proofs[tree.String()] = p.Proof.Proof
		}
		return err
	})
	return k, failure.Wrap(err, "look into", vaultjob.NameOf(*s.vault))
}

// proof is what the last proof of a point said.
func (k kept) proof(p pgpoint.BasePoint) *model.Proof {
	if proof, ok := k.proofs[p.Snapshot.Tree.String()]; ok {
		return &proof
	}
	return nil
}

// Points lists the base points that were captured at a site, newest first, and a standby as the live point that it is.
func (d *Driver) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	s, err := newServer(t, t.Site)
	if err != nil {
		return nil, err
	}
	out, err := d.livePoint(ctx, t)
	if err != nil {
		return nil, err
	}
	k, err := d.inVault(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, b := range slices.Backward(k.bases) {
		if pgpoint.SiteOf(b.Snapshot) != t.Site {
			continue
		}
		p := model.Point{ID: b.Snapshot.ID.String(), Resource: s.id, Site: t.Site, At: b.Snapshot.Time.UTC(), Bytes: b.Bytes,
			Position: fmt.Sprintf("%s on timeline %d", b.Stop, b.Timeline), Proof: k.proof(b),
			Summary: fmt.Sprintf("%s in %s", units.Bytes(b.Bytes), vaultjob.NameOf(*s.vault))}
		if p.Proof != nil && p.Proof.OK {
			p.ProvedAt, p.ProvedBy = &p.Proof.At, p.Proof.By
		}
		if b.DamagedPages > 0 {
			p.Summary += fmt.Sprintf("; %d pages of the database were damaged", b.DamagedPages)
		}
		if b.Source != "" {
			p.Summary += "; from " + b.Source
		}
		out = append(out, p)
	}
	return out, nil
}

// Ranges says which states can be brought back by the log in the vault, whoever received it.
func (d *Driver) Ranges(ctx context.Context, t driver.Target) ([]model.Range, error) {
	s, err := newServer(t, t.Site)
	if err != nil {
		return nil, err
	}
	k, err := d.inVault(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []model.Range
	for _, r := range pgpoint.Reach(k.bases, k.logs) {
		if !r.Consistent {
			continue
		}
		id := r.Base.Snapshot.ID.String()
		if n := len(out) - 1; n >= 0 && out[n].To == position(r.To) { // one stretch, from several points
			out[n].Points = append(out[n].Points, id)
			continue
		}
		out = append(out, model.Range{Resource: s.id, Site: r.Site, From: position(r.From), To: position(r.To), FromTime: r.FromTime.UTC(), ToTime: r.ToTime.UTC(),
			Gap: r.Gap, Points: []string{id}, LogBytes: int64(r.To.At - r.From.At)})
	}
	return out, nil
}

func position(p pgwal.Position) string { return fmt.Sprintf("%s on timeline %d", p.At, p.Timeline) }
