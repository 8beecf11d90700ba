package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newAWS(inv *invocation) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:     "aws",
		Short:   "What Lifeboat needs of AWS",
		Example: `  lifeboat aws policy shop`,
	})
	cmd.AddCommand(newAWSPolicy(inv))
	return cmd
}

func newAWSPolicy(inv *invocation) *cobra.Command {
	opt := &policyOptions{}
	cmd := withFormats(&cobra.Command{
		Use:   "policy APP",
		Short: "Print the IAM policies that an app's operations need",
		Long: `A policy is printed for each identity that works for the app: the role of a site, or what its access begins with. It allows
the calls that the app's operations make and no others, on what they are made on. With --read-only it allows what status,
plan and doctor ask. Nobody is asked for it. A single policy is printed bare, so that it can be handed on as it is; several
have a line before each that says whose it is.

With --plan in place of APP it is for a plan of your own: one of lifeboat.yaml, or the file of a StatePayload document. What
such documents refer to is read from AWS for that, which takes permissions as well: --import prints those alone, and asks nobody.`,
		Example: `  lifeboat aws policy shop
  lifeboat aws policy shop --site west > west.json
  lifeboat aws policy shop --read-only -o json | jq '.grants[].holder'
  lifeboat aws policy --plan failover.json --site west --import`,
		SuggestFor:        []string{"permissions", "iam"},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case opt.plan.custom == "" && opt.request.Import:
			return usageError(cmd, "%s: --import is for the documents of a plan", name(cmd)).WithHint("add --plan NAME, or --plan FILE --site SITE")
		case opt.plan.custom == "":
			return wants("APP")(cmd, args)
		}
		return wants()(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := opt.fill(cmd, args); err != nil {
			return err
		}
		return runAWSPolicy(cmd.Context(), inv, opt.request, opt.readOnly)
	}
	flags := cmd.Flags()
	flags.StringVar(&opt.plan.site, "site", "", "the identities of `SITE` alone; of a document: where it runs")
	flags.BoolVar(&opt.readOnly, "read-only", false, "for status, plan and doctor alone")
	flags.StringVar(&opt.plan.custom, "plan", "", "for the plan `NAME`, or the document of this name")
	flags.StringVar(&opt.plan.from, "from", "", "the document's other `SITE` (default: the only other one in AWS)")
	flags.BoolVar(&opt.request.Import, "import", false, "for reading what the plan's documents refer to alone")
	complete(cmd, "plan", completePlans(inv))
	complete(cmd, "site", cobra.NoFileCompletions)
	complete(cmd, "from", cobra.NoFileCompletions)
	return cmd
}

// policyOptions say whose policies are printed.
type policyOptions struct {
	plan     planOptions
	request  api.PolicyRequest
	readOnly bool
}

// fill makes the request of the flags.
func (o *policyOptions) fill(cmd *cobra.Command, args []string) error {
	if o.plan.custom == "" {
		o.request.App, o.request.Site = model.AppID(args[0]), model.SiteID(o.plan.site)
		return nil
	}
	if !strings.HasSuffix(o.plan.custom, ".json") && o.plan.from == "" {
		o.request.Custom, o.request.Site = o.plan.custom, model.SiteID(o.plan.site)
		return nil
	}
	err := o.plan.document(cmd)
	o.request.Custom, o.request.Payload = o.plan.custom, o.plan.payload
	return err
}

func runAWSPolicy(ctx context.Context, inv *invocation, req api.PolicyRequest, readOnly bool) error {
	return inv.withService(ctx, func(svc api.Service) error {
		reply, err := svc.Policy(ctx, req)
		if err != nil {
			return err
		}
		if readOnly {
			for i := range reply.Grants {
				reply.Grants[i].Operate = nil
			}
		}
		return show(inv, reply, func(w io.Writer, r *api.PolicyReply, _ term.Style) error { return writePolicies(w, r, readOnly) })
	})
}

// writePolicies writes the documents, and whose they are when there are several.
func writePolicies(w io.Writer, r *api.PolicyReply, readOnly bool) error {
	type owned struct {
		grant api.Grant
		doc   api.PolicyDocument
	}
	var all []owned
	for _, g := range r.Grants {
		documents := g.Operate
		if readOnly {
			documents = g.Look
		}
		for _, d := range documents {
			all = append(all, owned{g, d})
		}
	}
	for _, o := range all {
		text, err := json.MarshalIndent(o.doc, "", "  ")
		if err != nil {
			return err
		}
		if len(all) > 1 {
			where := ""
			if o.grant.Account != "" {
				where = " in account " + o.grant.Account
			}
			if _, err := fmt.Fprintf(w, "# for %s%s, at %v\n", o.grant.Holder, where, o.grant.Sites); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
			return err
		}
	}
	return nil
}
