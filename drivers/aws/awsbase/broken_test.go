package awsbase_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// cut breaks answers off in their middle, after a status that says yes.
type cut struct {
	next *awstest.Client
	left int
}

func (c *cut) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.next.Do(req)
	if err != nil || c.left == 0 || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	c.left--
	text, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(text[:len(text)/2]))
	return resp, err
}

// TestBrokenAnswer: an answer that breaks off is none, whatever its status said.
func TestBrokenAnswer(t *testing.T) {
	w := awstest.New(awstest.Options{Unlimited: true})
	line := &cut{next: w.Client()}
	b := awsbase.New(awsbase.Options{HTTP: line})
	s := open(t, b, access(t, w, east))
	if err := create(t.Context(), s, "orders"); err != nil {
		t.Fatal(err)
	}
	line.left = 1
	if err := describe(t.Context(), s, "orders"); err != nil || line.left != 0 {
		t.Errorf("a look whose first answer broke off: %v, %d left", err, line.left)
	}
	line.left = 1
	fails(t, create(t.Context(), s, "carts"), failure.Indeterminate, "look before")
	if n := w.Count("CreateDBInstance"); n != 2 {
		t.Errorf("%d were asked for, want 2", n)
	}
}
