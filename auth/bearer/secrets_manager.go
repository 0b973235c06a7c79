package bearer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// newSecretsManager returns what reads a secret. Credentials, whose certificates are believed, and an endpoint that is not the
// region's own come from the environment, the shared files or the machine's role, as for all of Amazon's programs. It
// asks nobody for anything yet.
func newSecretsManager(s Secret) (fetch func(ctx context.Context) (string, error), closed func(), err error) {
	c, err := awsconfig.LoadDefaultConfig(context.Background(),
		awsconfig.WithRegion(s.Region),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.Proxy = http.ProxyFromEnvironment
			t.IdleConnTimeout = 2 * time.Minute
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		})),
		awsconfig.WithLogger(logging.Nop{}), // it quotes requests
	)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials for AWS: %w", err)
	}
	built, ok := c.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, nil, fmt.Errorf("the library asks by a %T", c.HTTPClient)
	}
	transport := built.GetTransport()
	client := secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) {
		o.HTTPClient = &http.Client{Transport: transport, CheckRedirect: stay}
	})
	fetch = func(ctx context.Context) (string, error) {
		answer, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(s.Name)})
		switch {
		case err != nil:
			return "", toldByAWS(err)
		case answer.SecretString == nil:
			return "", errors.New("the secret holds bytes, and no text")
		}
		return *answer.SecretString, nil
	}
	return fetch, transport.CloseIdleConnections, nil
}

// stay follows no redirection: what a request brings is for whom it was sent to.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// toldByAWS is an error that may be logged. A message of AWS's may quote the request, with a token of a session; its code is a word.
func toldByAWS(err error) error {
	refused, is := errors.AsType[smithy.APIError](err)
	if !is {
		return err
	}
	word := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return -1
	}, refused.ErrorCode())
	return fmt.Errorf("AWS refuses with %.60q", word)
}
