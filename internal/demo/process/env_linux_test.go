package process

import "testing"

func TestHasEnv(t *testing.T) {
	parent, child := startTree(t)
	for _, id := range []ID{parent, child} {
		if !HasEnv(id.PID, "PROCESS_TEST="+t.Name()) || HasEnv(id.PID, "PROCESS_TEST=") {
			t.Errorf("%v: the environment is not seen as it was given", id)
		}
	}
}
