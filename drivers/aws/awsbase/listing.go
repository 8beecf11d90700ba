package awsbase

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Pager is a paginator of the SDK's, whose pages are P.
type Pager[O, P any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*O)) (*P, error)
}

// All asks for all pages, and collects what of finds in each.
func All[O, P, T any](ctx context.Context, pages Pager[O, P], of func(*P) []T) ([]T, error) {
	var out []T
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, of(page)...)
	}
	return out, nil
}

// One is the thing among those that of finds in the answer to a call which names it; nil when there is none of that name.
func One[P, T any](answer *P, err error, of func(*P) []T) (*T, error) {
	if Gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := of(answer)
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// Gone reports whether AWS says that a thing is not there.
func Gone(err error) bool { return failure.Classified(err) && failure.KindOf(err) == failure.NotFound }
