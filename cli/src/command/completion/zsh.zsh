#compdef @PROGRAM@
# zsh completion for @PROGRAM@; the candidates come from @PROGRAM@ itself.
_@PROGRAM@() {
    local line
    local -a candidates
    # The words up to the cursor, quotes taken off.
    for line in "${(@f)$(@PROGRAM@ __complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        case $line in
            :files) compset -P '--*='; _files; return ;;
            :directories) compset -P '--*='; _files -/; return ;;
            :none) ;;
            *) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    _describe '@PROGRAM@' candidates
}
if [ "$funcstack[1]" = "_@PROGRAM@" ]; then
    _@PROGRAM@
else
    compdef _@PROGRAM@ @PROGRAM@
fi
