package awsbase

import (
	"net/http"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// KindOfCode is what an answer with a code and a status means to a call that changes something.
func KindOfCode(code string, status int) failure.Kind {
	err := &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: &smithy.GenericAPIError{Code: code}}
	return judge(err, "rds", "CreateDBInstance").kind
}
