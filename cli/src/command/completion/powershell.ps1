# PowerShell completion for @PROGRAM@; the candidates come from @PROGRAM@ itself.
Register-ArgumentCompleter -Native -CommandName '@PROGRAM@' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object {
        if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { "$_" }
    })
    if ($wordToComplete -eq '') { $words += '""' }
    & '@PROGRAM@' __complete -- @words 2>$null | ForEach-Object {
        if ($_ -eq ':files' -or $_ -eq ':directories') {
            Get-ChildItem -Name "$wordToComplete*" | ForEach-Object {
                [System.Management.Automation.CompletionResult]::new($_, $_, 'ProviderItem', $_)
            }
        } elseif ($_ -ne ':none') {
            $value, $about = $_ -split "`t", 2
            if (-not $about) { $about = $value }
            $typed = $value
            if ($value -match '[^\w.,:=/@+-]') { $typed = "'" + ($value -replace "'", "''") + "'" }
            [System.Management.Automation.CompletionResult]::new($typed, $value, 'ParameterValue', $about)
        }
    }
}
