package postgres

import (
	"context"
	_ "embed"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

//go:embed scripts/lib.sh
var libScript string

//go:embed scripts/look.sh
var lookScript string

// lookTimeout bounds how long a host may take to say what is on it.
const lookTimeout = 5 * time.Second

// What a data folder can be, as lib.sh says it.
const (
	folderServer = "server" // a data folder
	folderEmpty  = "empty"
	folderAbsent = "absent"
	folderOther  = "other"  // something is there that is no data folder
	folderHidden = "hidden" // we may not look
)

// hostState is what there is of the copy on its host.
type hostState struct {
	Folder     string
	Postmaster int  // the living postmaster's process; 0 when there is none
	Listens    int  // the port it was started with
	Standby    bool // standby.signal is there
	Recovery   bool // recovery.signal is there
	Fenced     string
	Major      int
	Bin        string
	Control    control
}

// control is what the control file says (pg_controldata).
type control struct {
	State      string // "shut down", "shut down in recovery", "in production", ...
	SystemID   string
	Checkpoint lsn // where the last checkpoint's record begins
	Timeline   uint32
	MinEnd     lsn // standby: the end of what it must have replayed to be consistent
	MinEndTLI  uint32
	Rewindable bool // checksums or wal_log_hints
}

// stoppedCleanly reports whether the last shutdown was one in order.
func (c control) stoppedCleanly() bool {
	return c.State == "shut down" || c.State == "shut down in recovery"
}

// script makes a whole script: variables, the functions, and body. Extra are more NAME, value pairs.
func (s *server) script(body string, extra ...string) string {
	vars := []string{
		"data", s.at.Data, "work", s.at.Work, "port", strconv.Itoa(s.at.Port), "config", s.at.Config, "bin", s.at.Bin,
		"major", "", "service_start", "", "service_stop", "",
	}
	if s.at.Service != nil {
		vars = append(vars, "service_start", hostexec.Join(s.at.Service.Start), "service_stop", hostexec.Join(s.at.Service.Stop))
	}
	vars = append(vars, extra...)
	var b strings.Builder
	for i := 0; i+1 < len(vars); i += 2 {
		b.WriteString(vars[i] + "=" + hostexec.Quote(vars[i+1]) + "\n")
	}
	return b.String() + hostexec.Processes + libScript + body
}

// run runs a script made by script with standard input, and turns a bad exit into an error of kind.
func (s *server) run(ctx context.Context, kind failure.Kind, op, stdin, body string, extra ...string) (hostexec.Result, error) {
	res, err := s.host().ScriptIn(ctx, strings.NewReader(stdin), s.script(body, extra...))
	if err != nil {
		return res, failure.Wrap(err, op, s.subject())
	}
	return res, res.Err(kind, op, s.subject())
}

// hostAccess says whether Lifeboat may and can use the copy's host, and if not why not: Unsupported when it is not set
// up to, Unavailable when the host does not answer.
//
// Without a prefix that leads elsewhere, the host is this machine, and then the copy's address must be one of this
// machine's. Otherwise "its data folder is not there" would be said of the wrong machine, and taken for a proof.
func (s *server) hostAccess(ctx context.Context) error {
	if s.at.Data == "" {
		return failure.New(failure.Unsupported, "use the host of", s.subject(), "no data folder is set").
			WithHint("set data (and via) at site %s so that Lifeboat may use the host", s.site)
	}
	if staysHere(s.at.Via) && !isLocal(ctx, s.at.Host) {
		return failure.New(failure.Unsupported, "use the host of", s.subject(),
			"%s is no address of this machine, and via does not lead to another", s.at.Host).
			WithHint("set via at site %s, such as [ssh, %s]", s.site, s.at.Host)
	}
	return nil
}

// staysHere reports whether a prefix is known to run commands on this machine.
func staysHere(via []string) bool {
	local := []string{"runuser", "su", "sudo", "doas", "setpriv", "gosu", "su-exec", "env", "nice", "ionice", "sh", "bash"}
	if len(via) == 0 {
		return true
	}
	if slices.ContainsFunc(via, func(w string) bool { return path.Base(w) == "ssh" }) {
		return false
	}
	return slices.Contains(local, path.Base(via[0]))
}

// isLocal reports whether host is an address of this machine. A name that cannot be resolved is not.
func isLocal(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, ip := range ips {
		ip = ip.Unmap()
		if ip.IsLoopback() {
			continue
		}
		if !slices.ContainsFunc(own, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(ip.AsSlice())
		}) {
			return false
		}
	}
	return true
}

// look asks the host what there is of the copy. It changes nothing.
func (s *server) look(ctx context.Context) (hostState, error) {
	var st hostState
	if err := s.hostAccess(ctx); err != nil {
		return st, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	res, err := s.run(ctx, failure.Unavailable, "look at the host of", "", lookScript)
	if err != nil {
		if failure.KindOf(err) == failure.Indeterminate { // looking has no effect to be unsure of
			err = failure.WrapAs(failure.Unavailable, err, "", "")
		}
		return st, err
	}
	return parseLook(res.Text())
}

// parseLook reads look.sh's output.
func parseLook(text string) (hostState, error) {
	var st hostState
	facts := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, "=")
		facts[key] = strings.TrimSpace(value)
	}
	st.Folder = facts["folder"]
	if st.Folder == "" {
		return st, failure.New(failure.Corrupt, "look at the host", "", "it says %q", text)
	}
	st.Postmaster, _ = strconv.Atoi(facts["postmaster"])
	st.Listens, _ = strconv.Atoi(facts["listens"])
	st.Major, _ = strconv.Atoi(facts["version"])
	st.Standby, st.Recovery = facts["standby_signal"] != "", facts["recovery_signal"] != ""
	st.Fenced, st.Bin = facts["fenced"], facts["bin"]
	c, err := parseControl(facts)
	st.Control = c
	return st, err
}

// parseControl picks what matters out of pg_controldata's lines, whose names have been the same since 9.3.
func parseControl(facts map[string]string) (control, error) {
	c := control{
		State: facts["control.Database cluster state"], SystemID: facts["control.Database system identifier"],
		Rewindable: facts["control.wal_log_hints setting"] == "on" ||
			facts["control.Data page checksum version"] != "0" && facts["control.Data page checksum version"] != "",
	}
	if c.State == "" {
		return c, nil
	}
	var err error
	if c.Checkpoint, err = parseLSN(facts["control.Latest checkpoint location"]); err != nil {
		return c, err
	}
	if c.MinEnd, err = parseLSN(facts["control.Minimum recovery ending location"]); err != nil {
		return c, err
	}
	for name, to := range map[string]*uint32{
		"control.Latest checkpoint's TimeLineID":     &c.Timeline,
		"control.Min recovery ending loc's timeline": &c.MinEndTLI,
	} {
		n, err := strconv.ParseUint(facts[name], 10, 32)
		if err != nil {
			return c, failure.New(failure.Corrupt, "read", "pg_controldata", "%s is %q", name, facts[name])
		}
		*to = uint32(n)
	}
	return c, nil
}

// answers dials the copy's port. refused is true when the host says that nobody listens there.
func (s *server) answers(ctx context.Context) bool {
	dialer := net.Dialer{Timeout: s.timeout()}
	conn, err := dialer.DialContext(ctx, "tcp", s.endpoint())
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}
