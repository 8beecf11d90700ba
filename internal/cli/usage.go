package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// A wrong command line is one clear line and a hint, with failure.Invalid: never a page of usage.

// usageError is a wrong command line. Its hint says what to write instead.
func usageError(cmd *cobra.Command, format string, args ...any) *failure.Error {
	return failure.New(failure.Invalid, "", "", format, args...).
		WithHint("write: %s; see `%s --help`", usageLine(cmd), cmd.CommandPath())
}

// usageLine is how a command is written, without the word for flags in general.
func usageLine(cmd *cobra.Command) string {
	return strings.TrimSuffix(cmd.UseLine(), " [flags]")
}

// wants makes the rule that a command takes just the named arguments; one in brackets may be left out.
func wants(names ...string) cobra.PositionalArgs {
	least := 0
	for _, name := range names {
		if !strings.HasPrefix(name, "[") {
			least++
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		for i, arg := range args {
			if arg == "" && i < len(names) {
				return usageError(cmd, "%s: %s is empty", name(cmd), strings.Trim(names[i], "[]"))
			}
		}
		switch {
		case len(args) < least:
			return usageError(cmd, "%s: %s is missing", name(cmd), names[len(args)])
		case len(args) > len(names) && len(names) == 0:
			return usageError(cmd, "%s takes no arguments, and got %q", name(cmd), args[0])
		case len(args) > len(names):
			return usageError(cmd, "%s: %q is one argument too many", name(cmd), args[len(names)])
		}
		return nil
	}
}

// wantsMore is wants with any number of arguments after the named ones.
func wantsMore(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return wants(names...)(cmd, args[:min(len(args), len(names))])
	}
}

// name is a command's path without the program's name.
func name(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// group makes cmd one that only holds others: alone, or with an unknown word, it says what there is.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		if len(args) == 0 {
			return failure.New(failure.Invalid, "", "", "%s: a command is missing", name(cmd)).
				WithHint("write %s and one of: %s", cmd.CommandPath(), strings.Join(names, ", "))
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

// unknownCommand says that there is no such command below cmd, and which one was perhaps meant.
func unknownCommand(cmd *cobra.Command, word string) error {
	where := ""
	if cmd.HasParent() {
		where = " of `" + cmd.CommandPath() + "`"
	}
	err := failure.New(failure.Invalid, "", "", "%q is no command%s", word, where)
	if path := nearestCommand(cmd, word); path != "" {
		return err.WithHint("did you mean `%s`?", path)
	}
	if cmd.HasParent() {
		return err.WithHint("see `%s --help`", cmd.CommandPath())
	}
	return err.WithHint("`lifeboat help` lists the commands")
}

// nearestCommand finds the command that word was perhaps meant to be: one below cmd that is spelt alike or has word
// as another name, or one of that very name anywhere.
func nearestCommand(cmd *cobra.Command, word string) string {
	word = strings.ToLower(word)
	best, least := "", 3
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		if c.SuggestFor != nil && contains(c.SuggestFor, word) {
			return c.CommandPath()
		}
		d := distance(word, c.Name())
		for _, alias := range c.Aliases {
			d = min(d, distance(word, alias))
		}
		if len(word) >= 3 && strings.HasPrefix(c.Name(), word) {
			d = 1
		}
		if d < least && d < len(c.Name()) {
			best, least = c.CommandPath(), d
		}
	}
	if path := commandNamed(cmd.Root(), word); path != "" && least > 1 {
		return path
	}
	return best
}

func commandNamed(cmd *cobra.Command, word string) string {
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		if c.Name() == word {
			return c.CommandPath()
		}
		if path := commandNamed(c, word); path != "" {
			return path
		}
	}
	return ""
}

func contains(list []string, word string) bool {
	for _, s := range list {
		if s == word {
			return true
		}
	}
	return false
}

// flagError turns pflag's errors into one line and a hint.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown):
		if unknown.GetSpecifiedShortnames() != "" {
			return usageError(cmd, "%s has no flag -%s", name(cmd), unknown.GetSpecifiedName())
		}
		e := usageError(cmd, "%s has no flag --%s", name(cmd), unknown.GetSpecifiedName())
		if near := nearestFlag(cmd, unknown.GetSpecifiedName()); near != "" {
			return e.WithHint("did you mean %s?", near)
		}
		return e
	case errors.As(err, &missing):
		flag := missing.GetFlag()
		return usageError(cmd, "%s: --%s needs a value", name(cmd), flag.Name).
			WithHint("write --%s %s", flag.Name, valueName(flag))
	case errors.As(err, &invalid):
		flag := invalid.GetFlag()
		return usageError(cmd, "%s: --%s %s: %s", name(cmd), flag.Name, quoteShort(invalid.GetValue()), reason(invalid)).
			WithHint("write --%s %s", flag.Name, valueName(flag))
	case errors.As(err, &syntax):
		return usageError(cmd, "%s: %s", name(cmd), err)
	}
	return usageError(cmd, "%s: %s", name(cmd), err)
}

// reason says in our words why a flag's value is wrong.
func reason(invalid *pflag.InvalidValueError) string {
	switch invalid.GetFlag().Value.Type() {
	case "bool":
		return "takes no value, or true or false"
	case "int", "count":
		return "not a whole number"
	case "duration":
		return "not a duration such as 500ms, 30s or 1h30m"
	}
	if cause := invalid.Unwrap(); cause != nil {
		return cause.Error()
	}
	return "not understood"
}

func valueName(flag *pflag.Flag) string {
	value, _ := pflag.UnquoteUsage(flag)
	switch flag.Value.Type() {
	case "bool":
		return "alone"
	case "duration":
		return "30s"
	}
	return value
}

func quoteShort(s string) string {
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// nearestFlag finds the flag of cmd that was perhaps meant.
func nearestFlag(cmd *cobra.Command, word string) string {
	if word == "output" || word == "json" { // what other programs call it
		return "-o json"
	}
	best, least := "", 3
	visit := func(f *pflag.Flag) {
		d := distance(strings.ToLower(word), f.Name)
		if len(word) >= 3 && strings.HasPrefix(f.Name, word) {
			d = 1
		}
		if !f.Hidden && d < least && d < len(f.Name) {
			best, least = "--"+f.Name, d
		}
	}
	cmd.Flags().VisitAll(visit)
	cmd.InheritedFlags().VisitAll(visit)
	return best
}

// distance is Levenshtein's, with a swap of neighbours counted as one (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
