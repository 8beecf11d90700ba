package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// The exit codes that are no kind of failure. Kinds have theirs in package failure.
const (
	ExitSuccess      = 0
	ExitUnsuccessful = 1
	ExitUnfinished   = 3
)

// ExitCode is one row of the table of exit codes.
type ExitCode struct {
	Code    int
	Name    string
	Meaning string
}

// kindMeanings say what each kind of failure means to whoever started the command.
var kindMeanings = map[failure.Kind]string{
	failure.Internal:      "a defect of Lifeboat's: please report it",
	failure.NotFound:      "what was named does not exist: a file, an app, a run",
	failure.Exists:        "what was to be made is there already",
	failure.Invalid:       "the command line or the configuration is wrong; nothing was done",
	failure.Denied:        "forbidden: by a permission, a policy or a missing approval",
	failure.Conflict:      "not as things stand: something blocks it, somebody else is at it, or the plan has changed",
	failure.Throttled:     "the other side asks to slow down",
	failure.Unavailable:   "a site, a server or the journal does not answer",
	failure.Unsupported:   "this driver, server or platform cannot do it",
	failure.Corrupt:       "what was read is not what was written, such as a report that was changed",
	failure.Indeterminate: "it may or may not have happened: look before trying again",
	failure.Canceled:      "interrupted, or not confirmed",
}

// ExitCodes is the whole table, by code.
func ExitCodes() []ExitCode {
	table := []ExitCode{
		{ExitSuccess, "success", "done; for an operation: it ended well"},
		{ExitUnsuccessful, "unsuccessful", "the operation ran and did not succeed"},
		{ExitUnfinished, "unfinished", "the run waits for a person, or was left to another process; a backup left out what could not be read"},
	}
	for _, kind := range failure.Kinds() {
		table = append(table, ExitCode{kind.ExitCode(), kind.String(), kindMeanings[kind]})
	}
	for i := range table { // insertion sort: a dozen rows
		for j := i; j > 0 && table[j].Code < table[j-1].Code; j-- {
			table[j], table[j-1] = table[j-1], table[j]
		}
	}
	return table
}

// ErrUnsuccessful is among the causes of what [Deps.Demo] returns when the demonstration ran and did not end well.
var ErrUnsuccessful = errors.New("it ran and did not succeed")

// quiet ends a command with a code when everything there is to say has been said.
type quiet struct{ code int }

func (q quiet) Error() string { return fmt.Sprintf("exit code %d", q.code) }

// exitCode projects an error to the process's exit code.
func exitCode(err error) int {
	var q quiet
	switch {
	case err == nil:
		return ExitSuccess
	case errors.As(err, &q):
		return q.code
	case errors.Is(err, ErrUnsuccessful):
		return ExitUnsuccessful
	}
	return failure.KindOf(err).ExitCode()
}

// exitCodesHelp is the table as `lifeboat help exit-codes` shows it.
func exitCodesHelp() string {
	var b strings.Builder
	b.WriteString("Every command ends with a code of this table, whatever its output format.\n\n")
	for _, row := range ExitCodes() {
		fmt.Fprintf(&b, "  %3d  %-13s  %s\n", row.Code, row.Name, row.Meaning)
	}
	b.WriteString(`
An operation (failover, failback, drill, prove, restore, run start, run resume, run watch) ends with 0 only if its run
succeeded, rehearse only if the plan got through within the objectives.
Commands that only look (plan, status, run list, run show) end with 0 whatever they have to show; doctor ends with 7 when
something blocks an operation. vault backup ends with 3
when the point is not complete, vault check with 11 when something is wrong, vault restore with 1 when something could not
be restored.`)
	return b.String()
}
