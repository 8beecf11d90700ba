package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes Lifeboat's words in a shell",
		Long:  `SHELL is bash, zsh, fish or powershell. Commands, flags, apps, runs and steps are completed.`,
		Example: `  source <(lifeboat completion bash)
  lifeboat completion zsh > "${fpath[1]}/_lifeboat"
  lifeboat completion fish > ~/.config/fish/completions/lifeboat.fish`,
		Args:      wants("SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return failure.New(failure.Invalid, "", "", "completion: %q is no shell that Lifeboat knows", args[0]).
				WithHint("write one of: %s", strings.Join(shells, ", "))
		},
	}
}

// Completions look into the configuration and the runs. Where that fails there is nothing to offer, and the shell has
// no place to say why.

func completeApps(inv *invocation) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return strs(completeNames(cmd, inv, args, func(r *api.ValidateReply) []string { return strs(r.AppIDs) })),
			cobra.ShellCompDirectiveNoFileComp
	}
}

func completePlans(inv *invocation) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeNames(cmd, inv, args, func(r *api.ValidateReply) []string { return r.PlanNames }),
			cobra.ShellCompDirectiveNoFileComp
	}
}

func completeNames(cmd *cobra.Command, inv *invocation, args []string, names func(*api.ValidateReply) []string) []string {
	if len(args) > 0 {
		return nil
	}
	path, err := inv.configPath()
	if err != nil {
		return nil
	}
	reply, err := inv.Documents.Validate(cmd.Context(), path)
	if err != nil {
		return nil
	}
	return names(reply)
}

// completeRuns offers runs for the first argument, and for the second the run's steps.
func completeRuns(inv *invocation, active bool, steps func(api.StepView) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (found []string, _ cobra.ShellCompDirective) {
		_ = inv.withService(cmd.Context(), func(svc api.Service) error {
			switch {
			case len(args) == 0:
				runs, err := svc.Runs(cmd.Context(), api.RunsRequest{Active: active, Limit: 50})
				if err != nil {
					return err
				}
				for _, r := range runs {
					found = append(found, string(r.ID)+"\t"+r.Name+", "+r.Status)
				}
				found = append(found, "last\tthe newest run")
			case len(args) == 1 && steps != nil:
				view, err := find(cmd.Context(), svc, args[0])
				if err != nil {
					return err
				}
				for _, s := range view.Steps {
					if steps(s) {
						found = append(found, string(s.ID)+"\t"+s.Title)
					}
				}
			}
			return nil
		})
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func strs[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
