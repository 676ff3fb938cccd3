#compdef vireo
# zsh completion of vireo, made by `vireo completion zsh`. What there is to complete, vireo itself is asked.
_vireo() {
  local line value about
  local -a whole begun
  for line in "${(@f)$(@VIREO@ __complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
    [[ -n $line ]] || continue
    if [[ $line == :files ]]; then
      [[ $PREFIX == --*=* ]] && compset -P '*='
      _files
      return
    fi
    value=${line%%$'\t'*}
    about=${line#*$'\t'}
    line=${value//:/\\:}${about:+:$about}
    # After these more is to come, so no space.
    if [[ $value == *[=/.] ]]; then begun+=("$line"); else whole+=("$line"); fi
  done
  _describe vireo whole -- begun -S ''
}
if [[ $funcstack[1] == _vireo ]]; then _vireo "$@"; else compdef _vireo vireo; fi
