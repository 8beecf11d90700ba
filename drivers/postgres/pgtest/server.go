package pgtest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// Server is one server, in a folder of its own.
type Server struct {
	*Folder
	Bin  string // of its programs
	Host string
	Port int // where it was launched last
}

// ServerOptions are what a server is made with.
type ServerOptions struct {
	Host     string   // an address of this machine
	Bin      string   // empty: what is installed
	Initdb   []string // more words for initdb
	Settings []string // lines for postgresql.conf
}

// NewServer makes a cluster in the folder data, and launches its server.
func NewServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	s := &Server{Folder: NewFolder(t), Bin: o.Bin, Host: o.Host}
	if s.Bin == "" {
		s.Bin = Bin(t)
	}
	s.NewCluster(s.Bin, s.Path("data"), o.Initdb...)
	s.conf(s.Path("data"), o.Settings...)
	s.Launch("data")
	return s
}

// Launch starts the server of a data folder in the server's, at a port of its own.
func (s *Server) Launch(folder string) {
	s.t.Helper()
	s.Port = ports.Free(s.t, s.Host)
	s.Sh(`"$1/pg_ctl" start -w -t 300 -s -D "$2" -l "$2.log" -o "-c port=$3 -c listen_addresses=$4"`, s.Bin, s.Path(folder), strconv.Itoa(s.Port), s.Host)
}

// Halt stops the server of a folder, as pg_ctl's mode says.
func (s *Server) Halt(folder, mode string) {
	s.t.Helper()
	s.Sh(`"$1/pg_ctl" stop -w -t 300 -s -m "$3" -D "$2"`, s.Bin, s.Path(folder), mode)
}

// Login is that of an ordinary session.
func (s *Server) Login() *pgconn.Config {
	s.t.Helper()
	cfg, err := pgconn.ParseConfig(dsn(s.Host, s.Port, "postgres"))
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

func dsn(host string, port int, database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable connect_timeout=20", host, port, database)
}

// Dial opens a connection to any server that pgtest has started, or that was made of one, such as a drill's copy.
func Dial(ctx context.Context, host string, port int) (*pgx.Conn, error) {
	return pgx.Connect(ctx, dsn(host, port, "postgres"))
}

// Connect opens a connection to a database. The caller closes it.
func (s *Server) Connect(database string) *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(context.WithoutCancel(s.t.Context()), dsn(s.Host, s.Port, database))
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// Exec runs statements, each a transaction.
func (s *Server) Exec(statements ...string) {
	s.t.Helper()
	s.ExecIn("postgres", statements...)
}

// ExecIn is Exec in a database.
func (s *Server) ExecIn(database string, statements ...string) {
	s.t.Helper()
	conn := s.Connect(database)
	defer conn.Close(context.Background())
	for _, text := range statements {
		if _, err := conn.Exec(context.WithoutCancel(s.t.Context()), text); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
	}
}

// Text asks for one value as text; that of null is empty.
func (s *Server) Text(query string) string {
	s.t.Helper()
	conn := s.Connect("postgres")
	defer conn.Close(context.Background())
	return TextOf(s.t, conn, query)
}

// TextOf is Text on a connection.
func TextOf(t testing.TB, conn *pgx.Conn, query string) string {
	t.Helper()
	var out string
	if err := conn.QueryRow(context.WithoutCancel(t.Context()), "select coalesce(("+query+")::text, '')").Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// WaitFor asks until the answer is true.
func (s *Server) WaitFor(query string) {
	s.t.Helper()
	Wait(s.t, query, func() bool { return s.Text(query) == "true" })
}

// Wait waits for something that has to come true.
func Wait(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s never came true", what)
		}
	}
}
