package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of `lifeboat help`.
const (
	groupStart   = "start"
	groupLook    = "look"
	groupOperate = "operate"
	groupRuns    = "runs"
	groupVault   = "vault"
	groupOther   = "other"
)

// formatsKey is the annotation that lists a command's output formats, the default one first.
const formatsKey = "formats"

// newRoot builds the command tree for one invocation.
func newRoot(inv *invocation) *cobra.Command {
	root := &cobra.Command{
		Use:   "lifeboat",
		Short: "Keeps applications recoverable at a second site, moves them there and back, and proves that it can",
		Example: `  lifeboat init                          write a commented lifeboat.yaml
  lifeboat status shop                   what is where, and what is wrong
  lifeboat plan failover shop            what a failover would do now; changes nothing
  lifeboat drill shop                    rehearse it on an isolated copy
  lifeboat failover shop --to west       do it
  lifeboat run resume last               take up a run whose process died`,
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return writeHelp(cmd)
			}
			return unknownCommand(cmd, args[0])
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return inv.checkFormat(cmd) },
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&inv.config, "config", "c", "", "configuration `FILE` (default: $LIFEBOAT_CONFIG, else lifeboat.yaml here or above)")
	flags.StringVar(&inv.state, "state", "", "state `FOLDER` in place of the configured one")
	flags.StringVarP(&inv.format, "format", "o", "", "output `FORMAT`: text or json, and what the command adds")
	flags.CountVarP(&inv.verbose, "verbose", "v", "log more on standard error; twice for all")
	flags.BoolVar(&inv.noColor, "no-color", false, "no colours (also with NO_COLOR set)")
	complete(root, "format", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return formats(cmd), cobra.ShellCompDirectiveNoFileComp
	})

	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { _ = writeHelp(cmd) }) // cobra gives help no way to fail
	root.SetUsageFunc(writeHelp)
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "To start with"},
		&cobra.Group{ID: groupLook, Title: "To look and to keep safe"},
		&cobra.Group{ID: groupOperate, Title: "To move and to rehearse"},
		&cobra.Group{ID: groupRuns, Title: "Runs and reports"},
		&cobra.Group{ID: groupVault, Title: "Where recovery points are kept"},
		&cobra.Group{ID: groupOther, Title: "Other"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupStart, newInit(inv), newValidate(inv), newSchema(inv), newDemo(inv))
	add(groupLook, newStatus(inv), newDoctor(inv), newPoints(inv), newProtect(inv), newProve(inv))
	add(groupOperate, newPlan(inv), newRehearse(inv), newDrill(inv), newFailover(inv), newFailback(inv), newRestore(inv))
	add(groupRuns, newRun(inv), newReport(inv))
	add(groupVault, newVault(inv))
	add(groupOther, newAWS(inv), newVersion(inv), newCompletion())
	help := newHelp()
	help.GroupID = groupOther
	root.SetHelpCommand(help)
	root.AddCommand(topics()...)
	finishTree(root)
	return root
}

// finishTree sets what every command has alike.
func finishTree(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Hidden = true // everybody knows it, and the hints name it
	cmd.Flags().SortFlags = false
	for _, c := range cmd.Commands() {
		finishTree(c)
	}
}

// withFormats declares a command's output formats, the default one first.
func withFormats(cmd *cobra.Command, formats ...string) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[formatsKey] = strings.Join(formats, ",")
	return cmd
}

// formats lists a command's output formats; a command that declares none has its one way of writing.
func formats(cmd *cobra.Command) []string {
	list := cmd.Annotations[formatsKey]
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// checkFormat refuses an output format that the command does not have, and fills in its default.
func (inv *invocation) checkFormat(cmd *cobra.Command) error {
	all := formats(cmd)
	switch {
	case inv.format == "" && !cmd.Flags().Changed("format"):
		if len(all) > 0 {
			inv.format = all[0]
		}
		return nil
	case slices.Contains(all, inv.format):
		return nil
	}
	asked := inv.format
	inv.format = ""
	if len(all) == 0 {
		return usageError(cmd, "%s has no output formats", name(cmd)).WithHint("leave -o out")
	}
	return usageError(cmd, "%s: %q is not one of its output formats", name(cmd), asked).
		WithHint("write -o and one of: %s", strings.Join(all, ", "))
}

// complete sets how a flag's value is completed in a shell.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("cli: " + err.Error()) // the flag is not declared: a defect of the tree, found by every test
	}
}
