package statepayload

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// The names that CloudFormation and Systems Manager take.
var (
	exportName    = regexp.MustCompile(`^[A-Za-z0-9:-]+$`)
	parameterName = regexp.MustCompile(`^[A-Za-z0-9_./-]+(:[A-Za-z0-9_.-]+)?$`)
	regionForm    = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d$`)
)

// Bool is what a parameter's value says; ok is false when it says neither true nor false. The framework takes every text that is
// not empty for true, "false" too.
func Bool(text string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "1":
		return true, true
	case "false", "no", "0":
		return false, true
	}
	return false, false
}

// List takes a value with commas apart. The framework sends it as one.
func List(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Number is what a parameter's value says; ok is false when it is none, or is less than zero.
func Number(text string) (n int, ok bool) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil && n >= 0
}

// CheckValue remarks on a value that is known, whether it stands in the document or was resolved. Action is one of the document's.
func CheckValue(action model.PayloadAction, p model.PayloadParameter, value string) []model.PayloadRemark {
	k := kindOf(action.Type)
	if k == nil {
		return nil
	}
	is, ok := k.parameter(p.Name)
	if !ok || is.use == unread {
		return nil
	}
	block := func(code, why, fix, format string, args ...any) []model.PayloadRemark {
		return []model.PayloadRemark{p.Remark(model.Block, code, sprint(format, args...), why, fix)}
	}
	warn := func(code, why, fix, format string, args ...any) []model.PayloadRemark {
		return []model.PayloadRemark{p.Remark(model.Warn, code, sprint(format, args...), why, fix)}
	}
	if strings.TrimSpace(value) == "" {
		if is.use != needed {
			return warn("payload-empty", "the framework sends it as it is, and AWS refuses it", "leave the parameter out, or give it a value", "%s is empty", p.Name)
		}
		return block("payload-empty", "the framework sends it as it is, and AWS refuses it while the machine waits for ever", "give it a value", "%s is empty", p.Name)
	}
	switch is.shape {
	case truth:
		on, ok := Bool(value)
		switch {
		case !ok:
			return block("payload-boolean", "the framework takes every text for true", "write \"true\" or \"false\"", "%s is %q, which is neither true nor false", p.Name, value)
		case !on && is.use == used:
			return warn("payload-boolean", "the framework takes every text for true, \"false\" too", "write \"true\" if you relied on that", "%s is %q, and Lifeboat takes it for false", p.Name, value)
		}
	case several:
		if all := List(value); len(all) > 1 {
			return warn("payload-list", "the framework sends it as one id, which does not exist", "", "%s names %d: %s", p.Name, len(all), strings.Join(all, ", "))
		}
	case count:
		if _, ok := Number(value); !ok {
			return block("payload-number", "the framework fails on it after it has begun", "write a number", "%s is %q, which is no number", p.Name, value)
		}
	}
	if (p.Name == "ClusterRegion" || p.Name == "SourceRegion" || p.Name == "TargetRegion") && !regionForm.MatchString(value) {
		return block("payload-region", "", "write a region's code, such as us-west-2", "%s is %q, which is no region", p.Name, value)
	}
	return nil
}
