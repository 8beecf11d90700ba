package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/awsanswer"
)

// verdict is what an answer means.
type verdict struct {
	kind failure.Kind
	hint string
}

const (
	hintCredentials = "check the access key and the secret key, and that they are for this server"
	hintExpired     = "the credentials have expired: get new ones"
	hintClock       = "this machine's clock differs too much from the server's: set it"
	hintRegion      = "the bucket is in another region: set it, or leave the region out"
	hintLock        = "Object Lock is switched on when a bucket is made; see docs/object-lock.md"
	hintPolicy      = "the policy of this user must allow it; docs/object-lock.md lists what a vault needs"
)

// codes are the protocol's error codes (Amazon S3 API Reference, "Error responses", and what MinIO adds). What is not
// listed goes by its HTTP status.
var codes = map[string]verdict{
	"NoSuchKey":     {failure.NotFound, ""},
	"NoSuchVersion": {failure.NotFound, ""},
	"NotFound":      {failure.NotFound, ""},
	"NoSuchBucket":  {failure.NotFound, "the bucket does not exist: check its name, or create the vault first"},
	"NoSuchUpload":  {failure.Indeterminate, ""},

	"PreconditionFailed":         {failure.Exists, ""},
	"BucketAlreadyExists":        {failure.Exists, "bucket names are shared by everybody: choose another one"},
	"ConditionalRequestConflict": {failure.Unavailable, ""},
	"OperationAborted":           {failure.Unavailable, ""},

	"AccessDenied":                   {failure.Denied, hintPolicy},
	"Forbidden":                      {failure.Denied, hintPolicy},
	"AllAccessDisabled":              {failure.Denied, ""},
	"AccountProblem":                 {failure.Denied, "the provider says that there is a problem with the account"},
	"InvalidAccessKeyId":             {failure.Denied, hintCredentials},
	"SignatureDoesNotMatch":          {failure.Denied, hintCredentials},
	"InvalidTokenId":                 {failure.Denied, hintCredentials},
	"InvalidToken":                   {failure.Denied, hintExpired},
	"ExpiredToken":                   {failure.Denied, hintExpired},
	"ExpiredTokenException":          {failure.Denied, hintExpired},
	"TokenRefreshRequired":           {failure.Denied, hintExpired},
	"RequestTimeTooSkewed":           {failure.Denied, hintClock},
	"RequestExpired":                 {failure.Denied, hintClock},
	"InvalidObjectState":             {failure.Denied, "the object was moved to an archive: restore it there first"},
	"ObjectLocked":                   {failure.Denied, ""},
	"QuotaExceeded":                  {failure.Denied, "the quota is used up: make room, then try again"},
	"XMinioStorageFull":              {failure.Denied, "the server's disks are full: make room, then try again"},
	"XMinioAdminBucketQuotaExceeded": {failure.Denied, "the bucket's quota is used up: make room, then try again"},

	"AuthorizationHeaderMalformed":         {failure.Invalid, hintRegion},
	"PermanentRedirect":                    {failure.Invalid, hintRegion},
	"IllegalLocationConstraintException":   {failure.Invalid, hintRegion},
	"InvalidLocationConstraint":            {failure.Invalid, hintRegion},
	"InvalidBucketName":                    {failure.Invalid, ""},
	"InvalidStorageClass":                  {failure.Invalid, "this server has no such storage class"},
	"ObjectLockConfigurationNotFoundError": {failure.Unsupported, hintLock},
	"NoSuchObjectLockConfiguration":        {failure.NotFound, ""},
	"InvalidRange":                         {failure.Corrupt, ""},

	"BadDigest":                   {failure.Corrupt, "the content was damaged on its way: try again"},
	"InvalidDigest":               {failure.Corrupt, ""},
	"XAmzContentSHA256Mismatch":   {failure.Corrupt, "the content is not what its name says, or was damaged on its way"},
	"XAmzContentChecksumMismatch": {failure.Corrupt, "the content was damaged on its way: try again"},

	"SlowDown":               {failure.Throttled, ""},
	"SlowDownRead":           {failure.Throttled, ""},
	"SlowDownWrite":          {failure.Throttled, ""},
	"RequestLimitExceeded":   {failure.Throttled, ""},
	"TooManyRequests":        {failure.Throttled, ""},
	"Throttling":             {failure.Throttled, ""},
	"ThrottlingException":    {failure.Throttled, ""},
	"BandwidthLimitExceeded": {failure.Throttled, ""},
	"ServiceUnavailable":     {failure.Unavailable, ""},
	"RequestTimeout":         {failure.Unavailable, ""},
	"IncompleteBody":         {failure.Unavailable, ""},
	"InternalError":          {failure.Indeterminate, ""},

	"NotImplemented":   {failure.Unsupported, ""},
	"MethodNotAllowed": {failure.Unsupported, ""},
}

// statuses are for answers without a code that is known: those to HEAD have none, and gateways have their own.
var statuses = map[int]verdict{
	http.StatusMovedPermanently:             {failure.Invalid, hintRegion},
	http.StatusTemporaryRedirect:            {failure.Unavailable, ""},
	http.StatusBadRequest:                   {failure.Invalid, ""},
	http.StatusUnauthorized:                 {failure.Denied, hintCredentials},
	http.StatusForbidden:                    {failure.Denied, hintPolicy},
	http.StatusNotFound:                     {failure.NotFound, ""},
	http.StatusMethodNotAllowed:             {failure.Unsupported, ""},
	http.StatusRequestTimeout:               {failure.Unavailable, ""},
	http.StatusConflict:                     {failure.Unavailable, ""},
	http.StatusPreconditionFailed:           {failure.Exists, ""},
	http.StatusTooManyRequests:              {failure.Throttled, ""},
	http.StatusNotImplemented:               {failure.Unsupported, ""},
	http.StatusServiceUnavailable:           {failure.Unavailable, ""},
	http.StatusInternalServerError:          {failure.Indeterminate, ""},
	http.StatusBadGateway:                   {failure.Indeterminate, ""},
	http.StatusGatewayTimeout:               {failure.Indeterminate, ""},
	http.StatusRequestedRangeNotSatisfiable: {failure.Corrupt, ""},
}

// fault gives an error of a call that changes nothing its kind.
func (s *Store) fault(ctx context.Context, err error, op, subject string) error {
	f := s.changed(ctx, err, op, subject)
	if failure.KindOf(f) == failure.Indeterminate {
		return failure.WrapAs(failure.Unavailable, f, "", "")
	}
	return f
}

// changed gives an error of a call that changes something its kind: Indeterminate when the request may have arrived.
// Together with fault it is the only place that looks at errors of the SDK.
func (s *Store) changed(ctx context.Context, err error, op, subject string) error {
	if ctx.Err() != nil {
		return failure.Wrap(ctx.Err(), op, subject)
	}
	if failure.Classified(err) {
		return failure.Wrap(err, op, subject)
	}
	said := awsanswer.Of(err)
	if said.Status != 0 {
		v, known := codes[said.Code]
		if !known {
			v, known = statuses[said.Status]
		}
		switch {
		case !known && said.Status >= 500:
			v = verdict{failure.Indeterminate, ""}
		case !known:
			v = verdict{failure.Invalid, ""}
		}
		request := said.Request
		if request != "" {
			request = ", request " + request
		}
		f := failure.New(v.kind, op, subject, "%s (HTTP %d%s)", said, said.Status, request)
		if v.hint != "" {
			return f.WithHint("%s", v.hint)
		}
		return f
	}
	return s.unanswered(err, op, subject)
}

// unanswered is for a request that got no answer.
func (s *Store) unanswered(err error, op, subject string) error {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var network *net.OpError
	var lookup *net.DNSError
	var send *smithyhttp.RequestSendError
	wrap := func(kind failure.Kind, hint string) error {
		f := failure.WrapAs(kind, awsanswer.Unwrapped(err), op, subject)
		if hint != "" {
			return f.WithHint("%s", hint)
		}
		return f
	}
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &name):
		return wrap(failure.Invalid, "the server's certificate is not trusted: name the authority that signed it (ca), and check the host's name")
	case errors.As(err, &alert):
		return wrap(failure.Denied, "the server ends the TLS handshake: it may want a client's certificate (cert, key)")
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return wrap(failure.Invalid, "the server does not speak TLS there: write http:// or another port")
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return wrap(failure.Unavailable, "the server's name is unknown: check it, and the network")
	case errors.As(err, &network) && network.Op == "dial":
		return wrap(failure.Unavailable, "the server is not reached: check the endpoint and the network")
	case errors.As(err, &send), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isDeserialization(err):
		return wrap(failure.Indeterminate, "")
	}
	return wrap(failure.Internal, "")
}

func isDeserialization(err error) bool {
	var d *smithy.DeserializationError
	return errors.As(err, &d)
}

// codeOf is the error code in an answer, or what stands for it where answers have none. Errors that have a kind already
// are not answers to the call: the credentials could not be had, say.
func codeOf(err error) string {
	if err == nil || failure.Classified(err) {
		return ""
	}
	said := awsanswer.Of(err)
	if said.Code == "" && said.Status != 0 {
		return http.StatusText(said.Status)
	}
	return said.Code
}

// header is a header of the answer that err was.
func header(err error, name string) string {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil && response.Response.Response != nil {
		return response.Response.Header.Get(name)
	}
	return ""
}

func serverOf(m middleware.Metadata) string {
	if r, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response); ok {
		return r.Header.Get("Server")
	}
	return ""
}

// expecting finds the region in the message of AuthorizationHeaderMalformed, where servers that are not AWS say it.
var expecting = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

// regionOf is the region in which the bucket is, when err is about that.
func regionOf(err error) string {
	if err == nil {
		return ""
	}
	if region := header(err, "X-Amz-Bucket-Region"); region != "" {
		return region
	}
	said := awsanswer.Of(err)
	if found := expecting.FindStringSubmatch(said.Message); found != nil && said.Code == "AuthorizationHeaderMalformed" {
		return found[1]
	}
	return ""
}
