package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

// signalOptions are a person's word to a run.
type signalOptions struct {
	signal api.Signal
	run    string
	step   string
	reason string
	by     string
	set    []string
}

// signalCommand makes cmd send a signal. Its arguments are RUN and, where the signal is for a step, STEP.
func signalCommand(inv *invocation, opt *signalOptions, cmd *cobra.Command, steps func(api.StepView) bool) *cobra.Command {
	cmd.ValidArgsFunction = completeRuns(inv, true, steps)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opt.run = args[0]
		if len(args) > 1 {
			opt.step = args[1]
		}
		reason := cmd.Flags().Lookup("reason")
		if strings.TrimSpace(opt.reason) == "" && (reason.Changed || opt.needsReason()) {
			return usageError(cmd, "%s: --reason is missing", name(cmd)).
				WithHint(`say why, for the report: --reason "done by hand by Ann"`)
		}
		if cmd.Flags().Changed("by") && strings.TrimSpace(opt.by) == "" {
			return usageError(cmd, "%s: --by is empty", name(cmd))
		}
		outputs, err := opt.outputs(cmd)
		if err != nil {
			return err
		}
		return runSignal(cmd.Context(), inv, *opt, outputs)
	}
	cmd.Flags().StringVar(&opt.reason, "reason", "", "`REASON`, for the journal and the report")
	cmd.Flags().StringVar(&opt.by, "by", "", "act as `NAME` (default: user@host)")
	complete(cmd, "reason", cobra.NoFileCompletions)
	complete(cmd, "by", cobra.NoFileCompletions)
	return withFormats(cmd, "text", "json")
}

// needsReason reports whether the signal sets a rule or a step aside.
func (o *signalOptions) needsReason() bool { return o.signal == api.Skip || o.signal == api.Force }

// outputs reads --set output=value.
func (o *signalOptions) outputs(cmd *cobra.Command) (map[string]string, error) {
	outputs := map[string]string{}
	for _, pair := range o.set {
		output, value, ok := strings.Cut(pair, "=")
		if !ok || output == "" {
			return nil, usageError(cmd, "%s: --set %s: not of the form output=value", name(cmd), quoteShort(pair)).
				WithHint("write --set endpoint=10.0.0.3:5432")
		}
		if _, twice := outputs[output]; twice {
			return nil, usageError(cmd, "%s: --set names %q twice", name(cmd), output)
		}
		outputs[output] = value
	}
	if len(outputs) == 0 {
		return nil, nil
	}
	return outputs, nil
}

func runSignal(ctx context.Context, inv *invocation, opt signalOptions, outputs map[string]string) error {
	return inv.withService(ctx, func(svc api.Service) error {
		view, err := find(ctx, svc, opt.run)
		if err != nil {
			return err
		}
		req := api.SignalRequest{
			Run: view.ID, Signal: opt.signal, Step: model.StepID(opt.step), Reason: opt.reason,
			By: inv.by(opt.by), Set: outputs, Key: inv.NewKey(),
		}
		reply, err := svc.Signal(ctx, req)
		if err != nil {
			return err // it says which signal of which run
		}
		return show(inv, reply, func(w io.Writer, r *api.SignalReply, s term.Style) error {
			return term.Signaled(w, req, r, s)
		})
	})
}

func isAsking(s api.StepView) bool    { return s.Status == api.StepAsking }
func isApproving(s api.StepView) bool { return s.Status == api.StepApproval }
