// Package leaks finds goroutines that a test leaves behind, on a machine that may be slow to let those go that are at their end.
//
// It starts nothing and ends nothing. A package's TestMain calls [Main]; within a test, [Find] is asked for what came since
// goleak.IgnoreCurrent.
package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long goroutines have to end when nothing shorter is wanted. It is no measure of how long that may take.
const Patience = time.Minute

// Main runs the tests of a package and ends the process. It fails when they pass and leave goroutines behind.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := Find(Patience); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Find gives an error that shows the goroutines which are still there after the time that they have to end, beside those that
// the options leave out.
func Find(within time.Duration, options ...goleak.Option) error {
	end := time.Now().Add(within)
	for {
		err := goleak.Find(options...) // tries for half a second
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
