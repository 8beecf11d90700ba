package awsbase_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// page is one of pages, which end with an error or without.
type page struct{ names []string }

func names(p *page) []string { return p.names }

type pages struct {
	left []*page
	err  error
}

func (p *pages) HasMorePages() bool { return len(p.left) > 0 || p.err != nil }
func (p *pages) NextPage(context.Context, ...func(*struct{})) (*page, error) {
	if len(p.left) == 0 {
		return nil, p.err
	}
	next := p.left[0]
	p.left = p.left[1:]
	return next, nil
}

func TestAll(t *testing.T) {
	got, err := awsbase.All(t.Context(), &pages{left: []*page{{[]string{"a", "b"}}, {}, {[]string{"c"}}}}, names)
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	broken := failure.New(failure.Unavailable, "", east, "no answer")
	if got, err := awsbase.All(t.Context(), &pages{left: []*page{{[]string{"a"}}}, err: broken}, names); !errors.Is(err, broken) || got != nil {
		t.Errorf("a listing that breaks off gives %v and %v", got, err)
	}
}

func TestOne(t *testing.T) {
	first := "a"
	for _, c := range []struct {
		name   string
		answer *page
		err    error
		want   *string
		fails  bool
	}{
		{"it is there", &page{[]string{"a", "b"}}, nil, &first, false},
		{"AWS says that it is not", nil, failure.New(failure.NotFound, "", east, "no such thing"), nil, false},
		{"an answer without it", &page{}, nil, nil, false},
		{"nobody knows", nil, failure.New(failure.Denied, "", east, "no"), nil, true},
		{"an error that has no kind", nil, errors.New("not found"), nil, true},
	} {
		got, err := awsbase.One(c.answer, c.err, names)
		if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != c.fails {
			t.Errorf("%s: %v %s", c.name, err, diff)
		}
	}
}
