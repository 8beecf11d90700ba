package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newPlanImport(inv *invocation) *cobra.Command {
	opt := &planOptions{operation: model.OpCustom}
	cmd := withFormats(&cobra.Command{
		Use:   "import FILE",
		Short: "Show what a StatePayload document of AWS's DR Orchestrator Framework would do",
		Long: `The document is read as the framework reads it: what it says, what the framework and what Lifeboat do with each
action, and every place where the framework silently does wrong. With --site its references are resolved in that
site's region, and the plan is shown that would run there. Nothing is changed, the document least of all.
"lifeboat run start --plan FILE --site SITE" carries it out. With mistakes the exit code is 2.`,
		Example: `  lifeboat plan import failover.json
  lifeboat plan import failover.json --site west
  lifeboat plan import failover.json -o json | jq '.payload.remarks'`,
		Args: wants("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.custom = args[0]
			return runPlanImport(cmd.Context(), inv, *opt)
		},
	}, "text", "json")
	opt.documentFlags(cmd)
	return cmd
}

// documentFlags say where a document runs.
func (o *planOptions) documentFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.site, "site", "", "run the StatePayload document at `SITE`, where databases are brought up")
	cmd.Flags().StringVar(&o.from, "from", "", "the document's other `SITE` (default: the only other one in AWS)")
	complete(cmd, "site", cobra.NoFileCompletions)
	complete(cmd, "from", cobra.NoFileCompletions)
}

// document reads the document that --plan names, when --site says that it is one.
func (o *planOptions) document(cmd *cobra.Command) error {
	switch {
	case o.site == "" && o.from != "":
		return usageError(cmd, "%s: --from belongs to a document, and needs --site", name(cmd))
	case o.site == "" && strings.HasSuffix(o.custom, ".json"):
		return usageError(cmd, "%s: %s is a file, and nothing says where it is to run", name(cmd), o.custom).WithHint("add --site SITE")
	case o.site == "":
		return nil
	}
	content, err := readDocument(o.custom)
	if err != nil {
		return err
	}
	return o.take(o.custom, content)
}

// take makes a document the plan.
func (o *planOptions) take(file string, content []byte) error {
	o.payload = &api.PayloadAsk{File: file, Content: content, Site: model.SiteID(o.site), Peer: model.SiteID(o.from)}
	base := strings.ToLower(filepath.Base(file))
	base = strings.Trim(notInName.ReplaceAllString(strings.TrimSuffix(base, filepath.Ext(base)), "-"), "-")
	if base == "" {
		return failure.New(failure.Invalid, "", "", "no plan can be called after %q", file).WithHint("give the file a name of letters and digits")
	}
	o.custom = base[:min(len(base), 63)]
	return nil
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// maxDocument is more than a document may have: what is longer is told by whoever reads it.
const maxDocument = 1 << 20

func readDocument(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.NotFound, "read", path, "there is no such file")
	}
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "read", path)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read", path).WithHint("name the document's file")
	}
	return content, nil
}

func runPlanImport(ctx context.Context, inv *invocation, opt planOptions) error {
	content, err := readDocument(opt.custom)
	if err != nil {
		return err
	}
	reply := &api.PayloadReply{Site: model.SiteID(opt.site)}
	if reply.Payload, err = inv.Documents.Payload(ctx, opt.custom, content); err != nil {
		return err
	}
	wrong := false
	for _, r := range reply.Payload.Remarks {
		wrong = wrong || r.Severity == model.Block
	}
	var planErr error
	if opt.site != "" && !wrong {
		if planErr = opt.take(opt.custom, content); planErr == nil {
			planErr = inv.withService(ctx, func(svc api.Service) (err error) {
				reply.Plan, err = svc.Plan(ctx, opt.request())
				return err
			})
		}
	}
	if err := show(inv, reply, term.Payload); err != nil {
		return err
	}
	if wrong {
		return quiet{failure.Invalid.ExitCode()}
	}
	return planErr
}
