# fish completion for @PROGRAM@; the candidates come from @PROGRAM@ itself.
function __@PROGRAM@_complete
    set -l words (commandline -opc)
    # Quotes taken off, the last of which may be open.
    set -l typed (commandline -ct)
    set -l current (string unescape -- "$typed"; or string unescape -- "$typed'"; or string unescape -- "$typed\"")
    set -l flag (string match -r -- '^--[^=]*=' "$current")
    set -l path (string replace -r -- '^--[^=]*=' '' "$current")
    for line in (@PROGRAM@ __complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :files
                printf '%s\n' "$flag"(__fish_complete_path $path)
            case :directories
                printf '%s\n' "$flag"(__fish_complete_directories $path)
            case :none
            case '*'
                printf '%s\n' $line
        end
    end
end
complete -c @PROGRAM@ -f -a '(__@PROGRAM@_complete)'
