package awsbase

import (
	"slices"
	"strings"
	"unicode"

	"github.com/lifeboat-dr/lifeboat/driver"
)

// The tags on all that Lifeboat makes in AWS.
const (
	TagApp      = "lifeboat:app"
	TagResource = "lifeboat:resource"
	TagRun      = "lifeboat:run"
	TagStep     = "lifeboat:step"
	TagToken    = "lifeboat:token"
)

// Origin is who made a thing in AWS, as its tags say. Run, Step and Token are empty on what is made outside of runs.
type Origin struct{ App, Resource, Run, Step, Token string }

// OriginOf is the origin of what req makes.
func OriginOf(req driver.Request) Origin {
	return Origin{App: string(req.App), Resource: string(req.Resource.ID), Run: string(req.Run), Step: string(req.Step), Token: req.Token}
}

// ReadOrigin is the origin that tags say; false when Lifeboat did not make the thing.
func ReadOrigin(tags map[string]string) (Origin, bool) {
	o := Origin{tags[TagApp], tags[TagResource], tags[TagRun], tags[TagStep], tags[TagToken]}
	return o, o.App != "" && o.Resource != ""
}

// Tag is one tag.
type Tag struct{ Key, Value string }

// tagMost is how long a tag's value can be.
const tagMost = 256

// tagValue makes a tag's value of a text: AWS takes letters, digits, spaces and a few signs, at most 256 of them (RDS API Reference,
// Tag). What it would refuse becomes a space.
func tagValue(text string) string {
	runes := []rune(text)
	for n, r := range runes {
		if !unicode.In(r, unicode.L, unicode.N, unicode.Z) && !strings.ContainsRune("_.:/=+-@", r) {
			runes[n] = ' '
		}
	}
	if text != string(runes) {
		runes = []rune(OneLine(string(runes)))
	}
	return string(runes[:min(len(runes), tagMost)])
}

// Tags are the origin's, with more of the caller's, sorted by key. A key of the caller's that begins with "lifeboat:" is the
// origin's, or another fact of Lifeboat's; it wins over nothing. Values are made such that AWS takes them.
func (o Origin) Tags(more map[string]string) []Tag {
	all := map[string]string{}
	for k, v := range more {
		all[k] = v
	}
	for k, v := range map[string]string{TagApp: o.App, TagResource: o.Resource, TagRun: o.Run, TagStep: o.Step, TagToken: o.Token} {
		if v != "" {
			all[k] = v
		}
	}
	tags := make([]Tag, 0, len(all))
	for k, v := range all {
		tags = append(tags, Tag{k, tagValue(v)})
	}
	slices.SortFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// Optional leaves an empty text out of a call.
func Optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// OneLine is what AWS says, which may come with line breaks, for summaries and findings.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// TagsAs makes one service's tags of ours: every service has a type of its own.
//
//	awsbase.TagsAs(origin.Tags(nil), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
func TagsAs[T any](tags []Tag, as func(key, value *string) T) []T {
	out := make([]T, 0, len(tags))
	for _, t := range tags {
		out = append(out, as(&t.Key, &t.Value))
	}
	return out
}

// OneTag is ids as the value of one tag, to be read by strings.Fields; false when there are more than AWS takes in one.
func OneTag(ids []string) (string, bool) {
	text := strings.Join(ids, " ")
	return text, len(text) <= tagMost
}

// TagMap makes a map of one service's tags.
func TagMap[T any](tags []T, of func(T) (key, value *string)) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		if k, v := of(t); k != nil && v != nil {
			m[*k] = *v
		}
	}
	return m
}

// FindByToken is the thing among items that the step with this token made: what to look for before a begin that AWS gives no
// idempotency token for. An empty token finds nothing.
func FindByToken[T any](items []T, token string, tags func(T) map[string]string) (found T, ok bool) {
	for _, item := range items {
		if token != "" && tags(item)[TagToken] == token {
			return item, true
		}
	}
	return found, false
}

// NameFor is a name for what the step with this token makes, the same at every begin: AWS then refuses to make it twice, and the
// tag tells whether it was we. It begins with prefix (cut and cleaned to letters, digits and single hyphens, as the identifiers of
// RDS and ElastiCache must be), is at most limit long (at least 24), and ends with 16 characters of the token: 80 bits.
func NameFor(prefix, token string, limit int) string {
	var b strings.Builder
	for _, r := range strings.ToLower(prefix) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	tail := "-lb-" + token[:min(16, len(token))]
	head := b.String()
	head = strings.TrimRight(head[:min(len(head), max(0, limit-len(tail)))], "-")
	if head == "" {
		head = "x"
	}
	return head + tail
}

// NamesFor is the pattern, with a * in it, of all names that [NameFor] gives for a prefix: what a policy allows.
func NamesFor(prefix string, limit int) string {
	const any16 = "0000000000000000"
	return strings.TrimSuffix(NameFor(prefix, any16, limit), any16) + "*"
}

// ARN names a thing in AWS. Services without accounts or regions in their ARNs are given empty ones.
func ARN(partition, service, region, account, resource string) string {
	return strings.Join([]string{"arn", partition, service, region, account, resource}, ":")
}

// SplitARN takes an ARN apart; false when text is none.
func SplitARN(text string) (partition, service, region, account, resource string, ok bool) {
	p := strings.SplitN(text, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return "", "", "", "", "", false
	}
	return p[1], p[2], p[3], p[4], p[5], true
}
