package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

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
	var site string
	var readOnly bool
	cmd := withFormats(&cobra.Command{
		Use:   "policy APP",
		Short: "Print the IAM policies that an app's operations need",
		Long: `A policy is printed for each identity that works for the app: the role of a site, or what its access begins with. It allows
the calls that the app's operations make and no others, on what they are made on. With --read-only it allows what status,
plan and doctor ask. Nobody is asked for it. A single policy is printed bare, so that it can be handed on as it is; several
have a line before each that says whose it is.`,
		Example: `  lifeboat aws policy shop
  lifeboat aws policy shop --site west > west.json
  lifeboat aws policy shop --read-only -o json | jq '.grants[].holder'`,
		Args:       wants("APP"),
		SuggestFor: []string{"permissions", "iam"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAWSPolicy(cmd.Context(), inv, api.PolicyRequest{App: model.AppID(args[0]), Site: model.SiteID(site)}, readOnly)
		},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
	cmd.Flags().StringVar(&site, "site", "", "the identities of `SITE` alone")
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "for status, plan and doctor alone")
	complete(cmd, "site", cobra.NoFileCompletions)
	return cmd
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
