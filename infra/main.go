// Command infra is the Pulumi program of every environment.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"coditect.ai/platform/infra/program"
)

func main() { pulumi.Run(program.Deploy) }
