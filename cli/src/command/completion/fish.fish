# fish completion for @PROGRAM@; the candidates come from @PROGRAM@ itself.
function __@PROGRAM@_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (@PROGRAM@ __complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (string replace -r '^--[^=]*=' '' -- "$current")
            case :directories
                __fish_complete_directories (string replace -r '^--[^=]*=' '' -- "$current")
            case :none
            case '*'
                echo $line
        end
    end
end
complete -c @PROGRAM@ -f -a '(__@PROGRAM@_complete)'
