package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// maxBody bounds how much of a body is read, in bytes.
const maxBody = 1 << 20

// HTTP is one HTTP request and what its answer must be.
type HTTP struct {
	URL           string                `json:"url" jsonschema:"required,description=What is asked: http:// or https://"`
	Method        string                `json:"method,omitempty" jsonschema:"description=GET when left out"`
	Headers       map[string]string     `json:"headers,omitempty" jsonschema:"description=Headers of the request"`
	SecretHeaders map[string]secret.Ref `json:"secret_headers,omitempty" jsonschema:"description=Headers whose values are secrets: references such as env:TOKEN"`
	Body          string                `json:"body,omitempty" jsonschema:"description=The request's body"`
	Resolver      string                `json:"resolver,omitempty" jsonschema:"description=The DNS server (host:port) that is asked for the host's name\\, freshly each time; the system's resolver when left out"`
	ExpectStatus  []int                 `json:"expect_status,omitempty" jsonschema:"description=The statuses that are good; 200 to 399 when left out. Redirects are not followed"`
	ExpectBody    string                `json:"expect_body,omitempty" jsonschema:"description=A regular expression (RE2) that the body's first MiB must match"`
	Timeout       model.Duration        `json:"timeout,omitempty" jsonschema:"description=For the whole question\\, name lookup included; 5s when left out"`
	CA            string                `json:"ca,omitempty" jsonschema:"description=A file of certificates (PEM) to trust in place of the system's"`
	Insecure      bool                  `json:"insecure,omitempty" jsonschema:"description=Take any certificate"`
}

// Validate checks what can be known without asking.
func (h *HTTP) Validate() error {
	if h.URL == "" {
		return fmt.Errorf("url: is missing")
	}
	if u, err := url.Parse(h.URL); !Unknown(h.URL) && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("url: %q is not an http:// or https:// address", h.URL)
	}
	if h.Method != "" && !Unknown(h.Method) {
		if _, err := http.NewRequest(h.Method, "http://localhost", nil); err != nil {
			return fmt.Errorf("method: %q is not a method", h.Method)
		}
	}
	for _, s := range h.ExpectStatus {
		if s < 100 || s > 599 {
			return fmt.Errorf("expect_status: %d is not an HTTP status", s)
		}
	}
	for name := range h.SecretHeaders {
		if _, twice := h.Headers[name]; twice {
			return fmt.Errorf("secret_headers: %s is in headers too", name)
		}
	}
	if err := ValidateAddress("resolver", h.Resolver); err != nil {
		return err
	}
	return ValidatePattern("expect_body", h.ExpectBody)
}

// Ask sends the request once. Errors: Invalid for settings that cannot be a request, and those of reading a secret.
func (h *HTTP) Ask(ctx context.Context) (driver.Answer, error) {
	transport, err := h.transport()
	if err != nil {
		return driver.Answer{}, err
	}
	defer transport.CloseIdleConnections()
	expect, err := regexp.Compile(h.ExpectBody)
	if err != nil {
		return driver.Answer{}, failure.WrapAs(failure.Invalid, err, "ask", h.URL)
	}
	bounded, cancel := context.WithTimeout(ctx, Timeout(h.Timeout))
	defer cancel()
	req, err := h.request(bounded)
	if err != nil {
		return driver.Answer{}, err
	}
	start := time.Now()
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return asked(ctx, start, false, "", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return asked(ctx, start, false, "", fmt.Errorf("status %d, then: %w", resp.StatusCode, err))
	}
	ok, detail := h.judge(resp.StatusCode, body, expect)
	return asked(ctx, start, ok, detail, nil)
}

func (h *HTTP) judge(status int, body []byte, expect *regexp.Regexp) (bool, string) {
	saw := fmt.Sprintf("status %d", status)
	if text := Short(string(body)); text != "" {
		saw += ": " + text
	}
	switch {
	case len(h.ExpectStatus) > 0 && !slices.Contains(h.ExpectStatus, status):
		return false, fmt.Sprintf("%s; expected status %s", saw, strings.Trim(fmt.Sprint(h.ExpectStatus), "[]"))
	case len(h.ExpectStatus) == 0 && (status < 200 || status > 399):
		return false, saw + "; expected a status from 200 to 399"
	case !expect.Match(body):
		return false, fmt.Sprintf("%s; expected a body that matches %q", saw, h.ExpectBody)
	}
	return true, saw
}

func (h *HTTP) request(ctx context.Context) (*http.Request, error) {
	method := h.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, h.URL, strings.NewReader(h.Body))
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "ask", h.URL)
	}
	req.Close = true
	for name, value := range h.Headers {
		req.Header.Set(name, value)
	}
	for name, ref := range h.SecretHeaders {
		v, err := ref.Resolve(ctx)
		if err != nil {
			return nil, failure.Wrap(err, "read header", name)
		}
		req.Header.Set(name, v.Reveal())
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// transport is made for one question: nothing is kept, and no proxy of the environment stands between.
func (h *HTTP) transport() (*http.Transport, error) {
	t := &http.Transport{
		DialContext:       dialer{server: h.Resolver}.DialContext,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: h.Insecure}, //nolint:gosec // the user's own choice
	}
	if h.CA != "" {
		pem, err := os.ReadFile(h.CA)
		if err != nil {
			return nil, failure.WrapAs(failure.NotFound, err, "read certificates", h.CA)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, failure.New(failure.Invalid, "read certificates", h.CA, "there are none in it").
				WithHint("it must be a PEM file")
		}
	}
	return t, nil
}
