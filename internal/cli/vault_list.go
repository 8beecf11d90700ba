package cli

import (
	"bytes"
	"encoding/json"
	"iter"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// writeJSONList writes one document with a long list in it while the list is made, so that it need not fit into memory:
// the members of head, the list under its name, the members that tail gives at the end. When the list ends with an error
// the document is complete all the same, with the error as its last member.
func writeJSONList[T any](inv *invocation, head any, name string, list iter.Seq2[T, error], tail func() any) error {
	start, err := members(head)
	if err != nil {
		return err
	}
	if err := inv.write([]byte("{" + start + comma(start) + "\n  " + quoteJSON(name) + ": [")); err != nil {
		return err
	}
	between := "\n    "
	var failed error
	for v, err := range list {
		if err != nil {
			failed = err
			break
		}
		text, err := json.Marshal(v)
		if err != nil {
			return failure.WrapAs(failure.Internal, err, "write", "reply")
		}
		if err := inv.write(append([]byte(between), text...)); err != nil {
			return err
		}
		between = ",\n    "
	}
	end := "]"
	if between[0] == ',' {
		end = "\n  ]"
	}
	var last any
	switch {
	case failed != nil:
		last = map[string]*failure.Error{"error": failure.From(failed)}
	case tail != nil:
		last = tail()
	}
	more, err := members(last)
	if err != nil {
		return err
	}
	if err := inv.write([]byte(end + comma(more) + more + "\n}\n")); err != nil {
		return err
	}
	return failed
}

// members gives the members of v's JSON, indented, without the braces; nothing for nil.
func members(v any) (string, error) {
	if v == nil {
		return "", nil
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "", failure.WrapAs(failure.Internal, err, "write", "reply")
	}
	text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("{")), []byte("}"))
	return string(bytes.TrimRight(text, "\n")), nil
}

func comma(members string) string {
	if members == "" {
		return ""
	}
	return ","
}

func quoteJSON(s string) string {
	b, _ := json.Marshal(s) // never fails for a string
	return string(b)
}
