module hardsign.invalid/peers/framework-plugin

go 1.24.0

require github.com/notaryproject/notation-plugin-framework-go v1.0.0
