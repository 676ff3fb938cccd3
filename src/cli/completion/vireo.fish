# fish completion of vireo, made by `vireo completion fish`. What there is to complete, vireo itself is asked.
function __vireo_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer (@VIREO@ __complete -- $words[2..] "$current" 2>/dev/null)
    if test "$answer[1]" = :files
        set -l option (string match -r -- '^--[a-z-]+=' "$current")
        for path in (__fish_complete_path (string replace -- "$option" '' "$current"))
            printf '%s\n' "$option$path"
        end
        return
    end
    printf '%s\n' $answer
end
complete -c vireo -e
complete -c vireo -f -a '(__vireo_complete)'
