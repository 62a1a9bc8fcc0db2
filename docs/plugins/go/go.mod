module example.com/notation-go-example

go 1.22
