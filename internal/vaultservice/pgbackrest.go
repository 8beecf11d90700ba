package vaultservice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/importer"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest/s3"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// identifier is what apps and resources are called in lifeboat.yaml.
var identifier = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ImportPgBackRest makes points and log of what a pgBackRest repository holds.
func (s *Service) ImportPgBackRest(ctx context.Context, req api.VaultImportRequest, watch api.VaultWatch) (*api.VaultImportReply, error) {
	if watch == nil {
		watch = func(api.VaultEvent) {}
	}
	if !req.DryRun {
		if err := writable(req.VaultAccess, "import"); err != nil {
			return nil, err
		}
	}
	for what, name := range map[string]string{"app": string(req.App), "resource": string(req.Resource)} {
		if !identifier.MatchString(name) {
			return nil, failure.New(failure.Invalid, "import", req.Stanza, "%q is no name of an %s", name, what).
				WithHint("give the names that lifeboat.yaml has: --app APP --resource RESOURCE")
		}
	}
	start := s.opts.Now()
	watch(api.VaultEvent{Phase: "reading the repository"})
	repo, from, err := openPgBackRest(ctx, req)
	if err != nil {
		return nil, err
	}
	reply := &api.VaultImportReply{From: from, Stanza: req.Stanza, DryRun: req.DryRun, Points: []api.VaultImportPoint{}, Logs: []api.VaultImportLog{}}
	err = s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		reply.To = v.Location()
		report, err := importer.Run(ctx, v, repo, importer.Options{
			Whose: pgpoint.Whose{App: req.App, Resource: req.Resource}, Only: req.Only, DryRun: req.DryRun, Workers: req.Workers,
			Now: s.opts.Now, Log: s.opts.Log,
			Progress: func(p importer.Progress) {
				watch(api.VaultEvent{Phase: "importing", Unit: "backups and logs", Files: int64(p.Done), TotalFiles: int64(p.Of), Bytes: p.Bytes,
					TotalBytes: p.TotalBytes, Current: p.Current})
			},
		})
		for _, p := range report.Points {
			reply.Points = append(reply.Points, importedPoint(p))
			reply.Bytes += p.Read
		}
		for _, l := range report.Logs {
			reply.Logs = append(reply.Logs, importedLog(l))
		}
		reply.Stored = report.Stats.Stored
		return err
	})
	reply.Took = model.Duration(s.opts.Now().Sub(start))
	return reply, err
}

// openPgBackRest opens the stanza that a request means, and says where it is.
func openPgBackRest(ctx context.Context, req api.VaultImportRequest) (*pgbackrest.Repo, string, error) {
	l, err := pgBackRestAt(req)
	if err != nil {
		return nil, "", err
	}
	var store pgbackrest.Store = pgbackrest.Posix(l.Path)
	if l.Type == "s3" {
		o := s3.Options{Endpoint: l.Endpoint, Bucket: l.Bucket, Prefix: l.Path, Region: l.Region, PathStyle: l.PathStyle,
			AccessKey: l.AccessKey, SecretKey: l.SecretKey, Token: l.Token}
		if o.TLS, err = pgBackRestTLS(l); err != nil {
			return nil, "", err
		}
		if store, err = s3.Open(ctx, o); err != nil {
			return nil, "", err
		}
	}
	repo, err := pgbackrest.Open(ctx, store, pgbackrest.Options{Stanza: req.Stanza, Passphrase: l.Passphrase})
	return repo, store.String(), err
}

// pgBackRestAt is where the repository is: what is said in the request goes before what pgbackrest.conf says.
func pgBackRestAt(req api.VaultImportRequest) (pgbackrest.Location, error) {
	var l pgbackrest.Location
	if req.Config == "" && req.From == "" {
		return l, failure.New(failure.Invalid, "import", req.Stanza, "the repository is not named").
			WithHint("name its folder or bucket with --from, or pgbackrest.conf with --pgbackrest-config")
	}
	if req.Config != "" {
		text, err := os.ReadFile(req.Config)
		if err != nil {
			kind := failure.Denied
			if errors.Is(err, fs.ErrNotExist) {
				kind = failure.NotFound
			}
			return l, failure.WrapAs(kind, err, "read", req.Config)
		}
		number := max(req.Number, 1)
		if l, err = pgbackrest.ParseConfig(text, req.Stanza, number); err != nil && req.From == "" {
			return l, failure.Wrap(err, "read", req.Config)
		}
	}
	if req.From != "" {
		at, err := location.Parse(req.From)
		if err != nil {
			return l, err
		}
		switch at.Scheme {
		case location.Local:
			l.Type, l.Path = "posix", at.Path
		case location.S3:
			l.Type, l.Path, l.Bucket, l.Endpoint = "s3", at.Prefix, at.Bucket, at.Endpoint
			l.PathStyle = !strings.HasSuffix(at.Endpoint, ".amazonaws.com")
		default:
			return l, failure.New(failure.Unsupported, "open the pgBackRest repository", at.String(), "repositories lie in folders and in buckets").
				WithHint("give a folder, or s3:https://HOST/BUCKET/PREFIX")
		}
	}
	if req.CipherPass != nil {
		l.Passphrase = string(*req.CipherPass)
	}
	return l, nil
}

// pgBackRestTLS is how a server's certificate is verified; nil: as usual.
func pgBackRestTLS(l pgbackrest.Location) (*tls.Config, error) {
	if l.NoVerify {
		return &tls.Config{InsecureSkipVerify: true}, nil // pgbackrest.conf says so
	}
	if l.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(l.CAFile)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read the authorities of", l.Bucket)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, failure.New(failure.Invalid, "read the authorities in", l.CAFile, "there is no certificate in it")
	}
	return &tls.Config{RootCAs: pool}, nil
}

func importedPoint(p importer.Point) api.VaultImportPoint {
	out := api.VaultImportPoint{Label: p.Label, Type: string(p.Type), Time: p.Time, Bytes: p.Size, State: string(p.State), Failed: p.Failed, Notes: p.Notes,
		Problems: problemsOf(p.Problems)}
	if !p.Snapshot.IsZero() {
		out.Point = p.Snapshot.String()
	}
	return out
}

func importedLog(l importer.Log) api.VaultImportLog {
	out := api.VaultImportLog{Cluster: strconv.FormatUint(l.SystemID, 10), Archives: l.Archives, Segments: l.Segments, NewSegments: l.NewSegments,
		Spans: []api.VaultImportSpan{}, Failed: l.Failed, Problems: problemsOf(l.Problems), Notes: l.Notes}
	if !l.Snapshot.IsZero() {
		out.Point = l.Snapshot.String()
	}
	for _, s := range l.Spans {
		out.Spans = append(out.Spans, api.VaultImportSpan{FromTimeline: uint32(s.From.Timeline), From: s.From.At.String(),
			ToTimeline: uint32(s.To.Timeline), To: s.To.At.String(), Gap: s.Why})
	}
	return out
}

func problemsOf(all []importer.Problem) []*failure.Error {
	var out []*failure.Error
	for _, p := range all {
		out = append(out, failure.From(p.Err))
	}
	return out
}
