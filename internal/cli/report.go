package cli

import (
	"bytes"
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

type reportOptions struct {
	run    string
	output string
}

func newReport(inv *invocation) *cobra.Command {
	var opt reportOptions
	cmd := withFormats(&cobra.Command{
		Use:   "report RUN",
		Short: "Say what happened in a run, against the objective",
		Long: `The RTO and RPO in a report are measured, not claimed. The json form is hash-chained and signed, and
` + "`lifeboat report verify FILE`" + ` checks it anywhere. A run that is not over has a report of what there is so far.`,
		Example: `  lifeboat report last
  lifeboat report last -o html --output shop.html
  lifeboat report last -o json > shop.json && lifeboat report verify shop.json`,
		Args:              wants("RUN"),
		ValidArgsFunction: completeRuns(inv, false, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.run = args[0]
			if cmd.Flags().Changed("output") && opt.output == "" {
				return usageError(cmd, "report: --output is empty").WithHint("write --output FILE")
			}
			return runReport(cmd.Context(), inv, opt)
		},
	}, "text", "html", "json", "md", "junit")
	cmd.Flags().StringVar(&opt.output, "output", "", "write `FILE` in place of standard output")
	cmd.AddCommand(newReportVerify(inv))
	return cmd
}

func runReport(ctx context.Context, inv *invocation, opt reportOptions) error {
	return inv.withService(ctx, func(svc api.Service) error {
		view, err := find(ctx, svc, opt.run)
		if err != nil {
			return err
		}
		report, err := svc.Report(ctx, view.ID)
		if err != nil {
			return err
		}
		var b []byte
		if inv.format == "text" {
			var text bytes.Buffer
			style := inv.style(inv.Out)
			if opt.output != "" {
				style.Color, style.Width = false, 0
			}
			err = term.Report(&text, report, style)
			b = text.Bytes()
		} else {
			b, err = inv.Documents.Render(ctx, report, inv.format)
		}
		if err != nil {
			return failure.Wrap(err, "render", inv.format+" report")
		}
		if opt.output == "" {
			return inv.write(b)
		}
		return writeFile(opt.output, b)
	})
}

func newReportVerify(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:   "verify FILE",
		Short: "Check the hash chain and the signature of a JSON report",
		Long: `Nothing but the file is needed. FILE may be - for standard input. A report that was changed ends with exit code 11.
Compare the public key with that of the Lifeboat you trust: a report proves who signed it, not who that is.`,
		Example: `  lifeboat report verify shop.json
  lifeboat report last -o json | lifeboat report verify -`,
		Args: wants("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runReportVerify(cmd.Context(), inv, args[0]) },
	}, "text", "json")
}

func runReportVerify(ctx context.Context, inv *invocation, path string) error {
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(inv.In)
	} else {
		b, err = os.ReadFile(path)
	}
	switch {
	case os.IsNotExist(err):
		return failure.New(failure.NotFound, "verify", path, "there is no such file")
	case err != nil:
		return failure.WrapAs(failure.Denied, err, "verify", path)
	}
	reply, err := inv.Documents.VerifyReport(ctx, b)
	if err != nil {
		return failure.Wrap(err, "verify", path)
	}
	if err := show(inv, reply, term.Verify); err != nil {
		return err
	}
	if !reply.Valid {
		return quiet{failure.Corrupt.ExitCode()}
	}
	return nil
}
