package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"hash/fnv"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

//go:embed scripts/drill.sh
var drillScript string

//go:embed scripts/release.sh
var releaseScript string

// drillHandle is where the copy is.
type drillHandle struct {
	Job   string `json:"job"`
	Host  string `json:"host"`
	Total int64  `json:"total"`
	Vault bool   `json:"vault,omitempty"` // a job of this binary restores it
}

var tokenForm = regexp.MustCompile(`^[a-z2-7]{1,52}$`)

// checkToken refuses what cannot be a folder's name.
func checkToken(token string) error {
	if !tokenForm.MatchString(token) {
		return failure.New(failure.Invalid, "", "", "%q is no token", token)
	}
	return nil
}

// Drill copies the standby at req.Site with pg_basebackup, from the standby itself, and starts the copy as a primary of
// its own. Replication goes on: the primary sees nothing of it, the standby serves one more reader.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if s.at.Drill == nil {
		return driver.Handle{}, failure.New(failure.Invalid, "drill", s.subject(), "drill.folder is not set").
			WithHint("set drill: {folder: …} at site %s", s.site)
	}
	if err := checkToken(req.Token); err != nil {
		return driver.Handle{}, err
	}
	if err := s.hostAccess(ctx); err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", s.subject())
	}
	h := drillHandle{Job: path.Join(s.at.Drill.Folder, req.Token), Host: s.at.Drill.Host}
	if h.Host == "" {
		h.Host = s.at.Host
	}
	if s.fromVault() {
		return d.drillFromVault(ctx, req, s, h)
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return driver.Handle{}, err
	}
	defer closeConn(conn)
	st, err := readStatus(ctx, conn, s.subject())
	if err != nil {
		return driver.Handle{}, err
	}
	if err := conn.QueryRow(ctx, "select coalesce(sum(pg_database_size(oid)), 0)::bigint from pg_database").Scan(&h.Total); err != nil {
		return driver.Handle{}, wrap(err, "drill", s.subject())
	}
	spaces, err := tablespaces(ctx, conn)
	if err != nil {
		return driver.Handle{}, wrap(err, "drill", s.subject())
	}
	var maps []string
	for i, folder := range spaces {
		maps = append(maps, "-T", strings.ReplaceAll(folder, "=", `\=`)+"="+path.Join(h.Job, "tablespaces", strconv.Itoa(i)))
	}
	password, err := s.own.ReplicationPassword.Resolve(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", s.subject())
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	first, fixed := s.at.Drill.Port, "yes"
	if first == 0 {
		first, fixed = portOf(req.Token), ""
	}
	script := s.script(drillScript, "source_host", s.at.Host, "source_port", strconv.Itoa(s.at.Port),
		"repl_user", s.own.ReplicationUser, "sslmode", s.own.SSLMode, "sslrootcert", s.own.SSLRootCert,
		"listen", h.Host, "first", strconv.Itoa(first), "fixed", fixed, "maps", hostexec.Join(maps),
		"major", strconv.Itoa(st.major()))
	secretText := "*:*:*:" + escape.Replace(s.own.ReplicationUser) + ":" + escape.Replace(password.Reveal()) + "\n"
	if err := s.host().StartJob(ctx, hostexec.Job{Dir: h.Job, Script: script, Secret: []byte(secretText)}); err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", s.subject())
	}
	return driver.NewHandle(handleVersion, h)
}

// portOf is where the search for a free port begins: below the usual range of ephemeral ports, spread by the token.
func portOf(token string) int {
	f := fnv.New32a()
	_, _ = f.Write([]byte(token)) // never fails
	return 20000 + int(f.Sum32()%12000)
}

// observeDrill is done when the copy is out of recovery and answers.
func (d *Driver) observeDrill(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[drillHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	job, err := s.host().JobState(ctx, v.Job)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "drill", s.subject())
	}
	judged, over := judgeJob(job, "drill", s.subject(), v.Total)
	var restored []model.Fact
	if v.Vault {
		judged, over = vaultjob.Judge(job, "drill", s.subject())
		restored = evidence(job, restoreValues...)
	}
	if !over {
		return judged, nil
	}
	port, err := strconv.Atoi(job.Values["port"])
	if err != nil {
		return failed(failure.WrapAs(failure.Corrupt, err, "drill", s.subject()))
	}
	conn, err := s.connectTo(ctx, v.Host, port)
	if err != nil {
		if failure.KindOf(err) == failure.Unavailable && ctx.Err() == nil {
			return pending(50*time.Millisecond, "the copy does not take connections yet: "+err.Error())
		}
		return driver.Observation{}, err
	}
	defer closeConn(conn)
	st, err := readStatus(ctx, conn, s.subject())
	if err != nil {
		return driver.Observation{}, err
	}
	if st.Recovery {
		return pending(30*time.Millisecond, "the copy recovers, "+st.LSN.String())
	}
	if err := writeOnce(ctx, conn, req.Token); err != nil {
		return driver.Observation{}, wrapWrite(err, "drill", s.subject())
	}
	st.LSN = bornAt(ctx, conn, st)
	outputs := serverOutputs(v.Host, port, st)
	outputs["point"] = driver.Text("standby:" + string(s.site))
	if v.Vault {
		outputs["point"] = driver.Text(job.Values["point"])
	}
	return driver.Observation{
		State: driver.Done, Outputs: outputs,
		Evidence: append([]model.Fact{
			{Name: "copy", Value: fmt.Sprintf("a primary of its own on timeline %d from %s on, cut off from replication", st.Timeline, st.LSN)},
			{Name: "folder", Value: v.Job},
		}, restored...),
	}, nil
}

// releaseHandle is the folder that goes.
type releaseHandle struct {
	Dir string `json:"dir"`
}

// Release removes the copy that the drill step in req.Released made. Its folder follows from the token alone.
func (d *Driver) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if req.Released == nil {
		return driver.Handle{}, failure.New(failure.Invalid, "release", s.subject(), "nothing is named that is to be released")
	}
	if s.at.Drill == nil {
		return driver.Handle{}, failure.New(failure.Invalid, "release", s.subject(), "drill.folder is not set")
	}
	if err := checkToken(req.Released.Token); err != nil {
		return driver.Handle{}, failure.Wrap(err, "release", s.subject())
	}
	if err := s.hostAccess(ctx); err != nil {
		return driver.Handle{}, failure.Wrap(err, "release", s.subject())
	}
	dir := path.Join(s.at.Drill.Folder, req.Released.Token)
	if _, err := s.run(ctx, failure.Conflict, "release", "", releaseScript, "dir", dir, "temp", proofTemp(req.Released.Token)); err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, releaseHandle{Dir: dir})
}

// observeRelease is done when the folder is gone.
func (d *Driver) observeRelease(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[releaseHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	res, err := s.host().Script(ctx, `if [ -e "$1" ] || [ -e "$1.removing" ]; then echo there; fi`, v.Dir)
	if err == nil {
		err = res.Err(failure.Unavailable, "", "")
	}
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "release", s.subject())
	}
	if res.Text() != "" {
		return pending(50*time.Millisecond, "deleting "+v.Dir)
	}
	return driver.Observation{
		State: driver.Done, Outputs: map[string]model.Value{},
		Evidence: []model.Fact{{Name: "released", Value: v.Dir + " is gone, and its server with it"}},
	}, nil
}
