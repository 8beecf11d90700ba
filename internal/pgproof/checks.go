package pgproof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
)

// copied is a restored copy that is looked at.
type copied struct {
	o     Options
	base  pgpoint.Base
	host  string // its socket's folder
	port  int
	owner *syscall.Credential
}

// connect logs in to the copy. Its socket lets in whoever can enter its folder.
func (c *copied) connect(ctx context.Context, user, database string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig("sslmode=disable connect_timeout=10 target_session_attrs=any")
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "connect to", "the copy")
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database, cfg.Password = c.host, uint16(c.port), user, database, ""
	cfg.Fallbacks, cfg.TLSConfig = nil, nil
	cfg.RuntimeParams = map[string]string{"application_name": "lifeboat", "statement_timeout": "0", "lock_timeout": "0"}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "connect to", "the copy")
	}
	return conn, nil
}

func (c *copied) user() string {
	if u := c.o.Restore.Server.User; u != "" {
		return u
	}
	return "postgres"
}

func (c *copied) database() string {
	if c.o.Database != "" {
		return c.o.Database
	}
	return "postgres"
}

// query asks for rows of text; NULL is "". An answer of the server that is an error is no failure: it is given as said.
func query(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) (rows [][]string, said string, err error) {
	var values [][]byte
	for _, a := range args {
		values = append(values, []byte(a))
	}
	var results []*pgconn.Result
	if len(args) == 0 {
		results, err = conn.Exec(ctx, sql).ReadAll()
	} else {
		r := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
		results, err = []*pgconn.Result{r}, r.Err
	}
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && ctx.Err() == nil && !conn.IsClosed() {
			return nil, pg.Message + " (" + pg.Code + ")", nil
		}
		return nil, "", failure.WrapAs(failure.Unavailable, err, "ask", "the copy")
	}
	if len(results) == 0 {
		return nil, "", nil
	}
	for _, r := range results[len(results)-1].Rows {
		var row []string
		for _, v := range r {
			row = append(row, string(v))
		}
		rows = append(rows, row)
	}
	return rows, "", nil
}

// marker looks for the marker that was there when the point was made, or a newer one.
func (c *copied) marker(ctx context.Context, v *Verdict) error {
	want := c.base.Marker
	if want == nil {
		return nil
	}
	c.o.phase("looking for the marker")
	began := time.Now()
	conn, err := c.connect(ctx, c.user(), c.database())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	whose := c.o.Restore.Whose
	rows, said, err := query(ctx, conn, "select seq::text from lifeboat.marker where app = $1 and resource = $2", string(whose.App), string(whose.Resource))
	if err != nil {
		return err
	}
	var seq int64
	if len(rows) == 1 {
		seq, _ = strconv.ParseInt(rows[0][0], 10, 64)
	}
	switch {
	case said != "":
		v.add("marker", began, false, "it cannot be read: %s", said)
	case seq < want.Seq:
		v.add("marker", began, false, "marker %d was there when the point was made, and the copy has %d", want.Seq, seq)
	default:
		v.add("marker", began, true, "marker %d, and %d was written before the point", seq, want.Seq)
	}
	return nil
}

// fewRows is the share of the rows counted at capture below which a copy cannot be right: what is deleted while a base backup
// runs is less.
const fewRows = 0.5

// rows counts what was counted just before the point was made. Some may have been added, deleted or dropped meanwhile.
func (c *copied) rows(ctx context.Context, v *Verdict) error {
	if len(c.base.Rows) == 0 {
		return nil
	}
	c.o.phase("counting rows in %d tables", len(c.base.Rows))
	began := time.Now()
	conn, err := c.connect(ctx, c.user(), c.database())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var then, now, others int64
	var differ, unread []string
	for _, key := range sortedKeys(c.base.Rows) {
		table, ours := strings.CutPrefix(key, c.database()+".")
		if !ours {
			others++
			continue
		}
		had := c.base.Rows[key]
		then += had
		rows, said, err := query(ctx, conn, "select count(*) from only "+table)
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(said, "(42P01)"):
			differ = append(differ, table+" is gone")
		case said != "":
			unread = append(unread, table+": "+said)
		default:
			n, _ := strconv.ParseInt(rows[0][0], 10, 64)
			now += n
			if n != had {
				differ = append(differ, fmt.Sprintf("%s %d, was %d", table, n, had))
			}
		}
	}
	text := fmt.Sprintf("%d rows in %d tables, and %d were counted before the point", now, len(c.base.Rows)-int(others), then)
	if len(differ) > 0 {
		text += "; since then changed: " + some(differ)
	}
	switch {
	case len(unread) > 0:
		v.add("rows", began, false, "cannot be read: %s", some(unread))
	case float64(now) < fewRows*float64(then):
		v.add("rows", began, false, "only %s", text)
	default:
		v.add("rows", began, true, "%s", text)
	}
	return nil
}

// some names the first few.
func some(list []string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// questions asks the user's.
func (c *copied) questions(ctx context.Context, v *Verdict) error {
	for i, sql := range c.o.Checks {
		began := time.Now()
		c.o.phase("asking question %d of %d", i+1, len(c.o.Checks))
		ok, _, detail, err := c.ask(ctx, sql)
		if err != nil {
			return err
		}
		v.add("query "+oneLine(sql), began, ok, "%s", detail)
	}
	return nil
}

// ask asks one question. Asked is false when the server does not answer it at all: then detail is what it says instead.
func (c *copied) ask(ctx context.Context, sql string) (ok, asked bool, detail string, err error) {
	conn, err := c.connect(ctx, c.user(), c.database())
	if err != nil {
		return false, false, "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, said, err := query(ctx, conn, sql)
	if err != nil || said != "" {
		return false, false, said, err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return false, false, fmt.Sprintf("it answers with %d rows; one row with one column, true or false, is expected", len(rows)), nil
	}
	switch answer := rows[0][0]; answer {
	case "t", "true":
		return true, true, "true", nil
	case "":
		return false, true, "it answers NULL", nil
	default:
		return false, true, "it answers " + oneLine(answer), nil
	}
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 120 {
		text = string(r[:120]) + "…"
	}
	return text
}

// amcheck has pg_amcheck look into every table and B-tree index of all databases, where it is installed (since 14).
func (c *copied) amcheck(ctx context.Context, v *Verdict) error {
	const name = "pg_amcheck"
	began := time.Now()
	program := filepath.Join(c.o.Restore.Bin, "pg_amcheck")
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		v.add(name, began, true, "not run: it is not installed in %s", c.o.Restore.Bin)
		return nil
	}
	c.o.phase("pg_amcheck looks into tables and indexes")
	conn, err := c.connect(ctx, c.user(), "postgres")
	if err != nil {
		return err
	}
	rows, said, err := query(ctx, conn, "select rolname from pg_roles where rolsuper and rolcanlogin order by rolname <> current_user, oid limit 1")
	var has [][]string
	if err == nil && said == "" {
		has, said, err = query(ctx, conn, "select 1 from pg_available_extensions where name = 'amcheck'")
	}
	_ = conn.Close(context.WithoutCancel(ctx)) // it was only asked
	switch {
	case err != nil:
		return err
	case said != "" || len(rows) == 0:
		v.add(name, began, true, "not run: no superuser is found to run it as %s", said)
		return nil
	case len(has) == 0:
		v.add(name, began, true, "not run: the extension amcheck is not installed")
		return nil
	}
	out, code, err := c.run(ctx, program, "-h", c.host, "-p", strconv.Itoa(c.port), "-U", rows[0][0], "--all", "--install-missing", "--jobs=2", "--no-password")
	switch {
	case err != nil:
		return err
	case code == 0:
		v.add(name, began, true, "nothing found in tables and indexes")
	case code == 2: // corruption
		v.add(name, began, false, "%s", lastWords(out))
	default:
		return failure.New(failure.Unavailable, "run", program, "exit code %d: %s", code, lastWords(out))
	}
	return nil
}

// badPages is how pg_checksums says how many pages are damaged.
var badPages = regexp.MustCompile(`(?m)^Bad checksums:\s+(\d+)`)

// checksums has pg_checksums read every page of the stopped copy.
func (c *copied) checksums(ctx context.Context, v *Verdict) error {
	const name = "page checksums"
	began := time.Now()
	if !c.base.Checksums {
		v.add(name, began, true, "not verified: the cluster has none")
		return nil
	}
	c.o.phase("verifying the checksums of all pages")
	program := filepath.Join(c.o.Restore.Bin, "pg_checksums")
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		v.add(name, began, true, "not verified: pg_checksums is not installed in %s", c.o.Restore.Bin)
		return nil
	}
	out, code, err := c.run(ctx, program, "--check", "-D", c.o.Restore.Data)
	found := badPages.FindStringSubmatch(out)
	switch {
	case err != nil:
		return err
	case len(found) == 2 && found[1] != "0":
		v.add(name, began, false, "%s pages are damaged: %s", found[1], lastWords(strings.Join(failures(out), "\n")))
	case code == 0:
		v.add(name, began, true, "all are right")
	default:
		return failure.New(failure.Unavailable, "run", program, "exit code %d: %s", code, lastWords(out))
	}
	return nil
}

// failures are pg_checksums' lines about single pages.
func failures(out string) (lines []string) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "verification failed") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines[:min(len(lines), 3)]
}

// run runs one of the server's programs as its user.
func (c *copied) run(ctx context.Context, program string, args ...string) (out string, code int, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C", "PGCONNECT_TIMEOUT=10"), "/"
	if c.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	}
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", 0, failure.Wrap(context.Cause(ctx), "run", program)
	case errors.As(err, &exit) && exit.Exited():
		return both.String(), exit.ExitCode(), nil
	case err != nil:
		return both.String(), 0, failure.WrapAs(failure.Unavailable, err, "run", program)
	}
	return both.String(), 0, nil
}

// ownerOf is whom programs run as on a folder, when this process is root: whoever owns it.
func ownerOf(data string) *syscall.Credential {
	info, err := os.Stat(data)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	return &syscall.Credential{Uid: st.Uid, Gid: st.Gid}
}

// lastWords are the last few lines of what a program said, on one line.
func lastWords(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i := range lines {
		lines[i] = oneLine(lines[i])
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
